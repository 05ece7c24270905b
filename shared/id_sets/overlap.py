"""Whether and where two ID sets of any kinds overlap."""

from __future__ import annotations

import attrs

from homing.shared.id_sets.base import IdSet
from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.ranges import IdRange
from homing.shared.identifiers import from_number, number


@attrs.frozen
class Overlap:
    """The lowest and the highest identifier that two sets have in common, 32 bytes each."""

    first: bytes
    last: bytes

    def __str__(self) -> str:
        first, last = self.first.hex(), self.last.hex()
        return first if first == last else f"{first} to {last}"


def overlap(one: IdSet, other: IdSet) -> Overlap | None:
    """Where `one` and `other` overlap, exactly; None where they do not."""
    if isinstance(other, IdList):
        one, other = other, one
    if isinstance(one, IdList):
        common = [member for member in one.members if member in other]
        return Overlap(common[0], common[-1]) if common else None
    if isinstance(one, IdRange) and isinstance(other, IdRange):
        first, last = max(one.first, other.first), min(one.last, other.last)
        return Overlap(first, last) if first <= last else None
    if isinstance(one, MandatoryBits) and isinstance(other, MandatoryBits):
        return _of_bits(one, other)
    if isinstance(one, IdRange) and isinstance(other, MandatoryBits):
        return _of_range_and_bits(one, other)
    if isinstance(one, MandatoryBits) and isinstance(other, IdRange):
        return _of_range_and_bits(other, one)
    raise TypeError(f"cannot compare {type(one).__name__} with {type(other).__name__}")


def _of_bits(one: MandatoryBits, other: MandatoryBits) -> Overlap | None:
    if (one.value_number ^ other.value_number) & one.mask_number & other.mask_number:
        return None
    both = MandatoryBits(
        from_number(one.mask_number | other.mask_number),
        from_number(one.value_number | other.value_number),
    )
    return Overlap(both.first, both.last)


def _of_range_and_bits(a_range: IdRange, bits: MandatoryBits) -> Overlap | None:
    start, end = number(a_range.first), number(a_range.last)
    first, last = bits.at_or_above(start), bits.at_or_below(end)
    if first is None or last is None or first > end:
        return None
    return Overlap(from_number(first), from_number(last))
