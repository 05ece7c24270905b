"""The division of a farm's identifiers into numbered parts of equal size, which move singly.

Owners have many parts, so that a farm that grows or shrinks moves a few and leaves the others where
they are (patent, p. 9: "minimize the re-assignment").
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from homing.shared.id_sets import IdList, IdRange, IdSet
from homing.shared.identifiers import LENGTH, number, padded

PREFIX_LENGTH = 4
"""Bytes of an arena's prefix."""
FEWEST_BITS, MOST_BITS = 0, 20

Locate = Callable[[bytes], int | None]
"""The number of the part that has an identifier; None where none has."""


@attrs.frozen
class Division:
    """The arena `prefix`, cut by a scheme into 2^`bits` parts with numbers from 0 on.

    Raises ValueError when the prefix has not 4 bytes, or the bits are not from 0 to 20.
    """

    prefix: bytes
    bits: int

    def __attrs_post_init__(self) -> None:
        if len(self.prefix) != PREFIX_LENGTH:
            raise ValueError(f"a prefix has {PREFIX_LENGTH} bytes, not {len(self.prefix)}")
        if not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise ValueError(f"{self.bits} bits are not from {FEWEST_BITS} to {MOST_BITS}")

    @property
    def count(self) -> int:
        """How many parts there are."""
        return 1 << self.bits

    @property
    def arena(self) -> IdRange:
        """All identifiers that it divides."""
        return IdRange.of_prefix(self.prefix)

    @property
    def size(self) -> int:
        """How many identifiers lie from the start of a part to that of the next."""
        return 1 << 8 * (LENGTH - PREFIX_LENGTH) - self.bits

    def start(self, part: int) -> int:
        """The lowest identifier of a part, where parts lie side by side, as a number."""
        return number(self.prefix) + part * self.size


def enough_bits(servers: int) -> int:
    """The bits of a division for so many servers: 64 parts for each, 1,024 at least."""
    return min(MOST_BITS, max(10, (64 * servers - 1).bit_length()))


def side_by_side(division: Division) -> Locate:
    """The look-up where parts lie side by side: their number stands right behind the prefix."""
    prefix, behind = division.prefix, slice(PREFIX_LENGTH, 2 * PREFIX_LENGTH)
    shift = 8 * PREFIX_LENGTH - division.bits

    def locate(identifier: bytes) -> int | None:
        key = identifier if len(identifier) == LENGTH else padded(identifier)
        return int.from_bytes(key[behind], "big") >> shift if key.startswith(prefix) else None

    return locate


def limited(part: IdSet, max_ids: int | None) -> IdSet:
    """The `max_ids` lowest identifiers, at least 1, of a set that a scheme has cut; None: all."""
    if max_ids is None or max_ids >= part.count():
        return part
    if isinstance(part, IdList):
        return IdList(part.members[:max_ids])
    start = number(part.first)
    return IdRange.of_numbers(start, start + max_ids - 1)
