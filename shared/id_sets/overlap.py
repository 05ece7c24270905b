"""Whether and where ID sets of any kinds overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

import attrs

from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.kinds import IdSet
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
    if isinstance(one, IdList):
        members = one.members
        if isinstance(other, IdRange):  # a long list is not walked
            members = members[bisect_left(members, other.first) : bisect_right(members, other.last)]
        common = [member for member in members if member in other]
        return Overlap(common[0], common[-1]) if common else None
    if isinstance(other, IdList):
        return overlap(other, one)
    if isinstance(one, MandatoryBits):
        if isinstance(other, MandatoryBits):
            return _of_bits(one, other)
        return _of_range_and_bits(other, one)
    if isinstance(other, MandatoryBits):
        return _of_range_and_bits(one, other)
    first, last = max(one.first, other.first), min(one.last, other.last)
    return Overlap(first, last) if first <= last else None


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


def overlaps(sets: Sequence[IdSet]) -> Iterator[tuple[int, int, Overlap]]:
    """Pairs of sets that overlap, by their places, the earlier one first, and where.

    No pair comes twice.  Every set that overlaps another is in some pair, but not all pairs come.
    """
    compared = set()
    for suspects in _suspects(sets):
        one, other = sorted(suspects)
        if (one, other) not in compared:
            compared.add((one, other))
            common = overlap(sets[one], sets[other])
            if common:
                yield one, other, common


def _suspects(sets: Sequence[IdSet]) -> Iterator[tuple[int, int]]:
    """Pairs of sets that may overlap; every set that overlaps another is in a pair that does.

    Ranges and the members of lists are sorted, and each is compared only with the one before it
    that reaches furthest.  Mandatory bits are compared with all sets that have no or another mask.
    """
    spans = []
    by_mask: dict[int, dict[int, int]] = {}
    others: list[int] = []
    for place, one in enumerate(sets):
        if isinstance(one, MandatoryBits):
            same_mask = by_mask.setdefault(one.mask_number, {})
            if one.value_number in same_mask:
                yield same_mask[one.value_number], place
            same_mask[one.value_number] = place
        elif isinstance(one, IdList):
            others.append(place)
            spans += [(member, member, place) for member in one.members]
        else:
            others.append(place)
            spans.append((one.first, one.last, place))
    yield from _neighbours(spans)
    for mask, places in by_mask.items():
        for place in places.values():
            yield from ((other, place) for other in others)
            for other_mask, other_places in by_mask.items():
                if other_mask > mask:
                    yield from ((place, other) for other in other_places.values())


def _neighbours(spans: list[tuple[bytes, bytes, int]]) -> Iterator[tuple[int, int]]:
    """For each span: the set of the span before it that reaches furthest, and its own set."""
    reach, widest = b"", -1
    for first, last, place in sorted(spans, key=itemgetter(0, 1)):
        if widest >= 0 and first <= reach:
            yield widest, place
        if last > reach or widest < 0:
            reach, widest = last, place
