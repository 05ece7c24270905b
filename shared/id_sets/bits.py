"""Identifiers with mandatory bits (patent, p. 6: "mandatory values of specific bits")."""

from __future__ import annotations

import attrs

from homing.shared.id_sets.base import Numbered
from homing.shared.identifiers import HIGHEST, LENGTH, from_number, number, padded


@attrs.frozen
class MandatoryBits(Numbered):
    """All identifiers that agree with `value` in every bit that is set in `mask`, 32 bytes each."""

    mask: bytes = attrs.field(converter=padded)
    value: bytes = attrs.field(converter=padded)
    mask_number: int = attrs.field(init=False, repr=False, eq=False)
    value_number: int = attrs.field(init=False, repr=False, eq=False)
    _free: tuple[tuple[int, int], ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        mask, value = number(self.mask), number(self.value)
        if value & ~mask:
            raise ValueError("the value has bits that the mask does not")
        object.__setattr__(self, "mask_number", mask)
        object.__setattr__(self, "value_number", value)
        object.__setattr__(self, "_free", _runs(~mask & HIGHEST))

    @property
    def first(self) -> bytes:
        return self.value

    @property
    def last(self) -> bytes:
        return from_number(self.value_number | (~self.mask_number & HIGHEST))

    def __contains__(self, identifier: bytes) -> bool:
        return number(identifier) & self.mask_number == self.value_number

    def count(self, length: int = LENGTH) -> int:
        tail = 8 * (LENGTH - length)
        if self.value_number & ((1 << tail) - 1):
            return 0
        return 1 << ((~self.mask_number & HIGHEST) >> tail).bit_count()

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        """The member whose free bits, read together, are the number `index`."""
        tail = 8 * (LENGTH - length)
        member = self.value_number
        for start, width in self._free:
            if start + width <= tail:
                continue
            cut = max(0, tail - start)
            member |= (index & ((1 << width - cut) - 1)) << start + cut
            index >>= width - cut
        return from_number(member)[:length]

    def at_or_above(self, start: int) -> int | None:
        """The lowest member that is not below the number `start`, or None."""
        member = start & ~self.mask_number | self.value_number
        if member == start:
            return member
        differs = (member ^ start).bit_length() - 1
        if member > start:
            return self._lowest_below(member, differs)
        # A mandatory 0 stands where `start` has a 1: the next free 0 above it must become a 1.
        room = ~self.mask_number & ~start & HIGHEST & -(1 << differs)
        if not room:
            return None
        up = (room & -room).bit_length() - 1
        return self._lowest_below(member | 1 << up, up)

    def at_or_below(self, end: int) -> int | None:
        """The highest member that is not above the number `end`, or None."""
        flipped = MandatoryBits(self.mask, from_number(self.mask_number & ~self.value_number))
        member = flipped.at_or_above(HIGHEST ^ end)
        return None if member is None else HIGHEST ^ member

    def _lowest_below(self, member: int, bit: int) -> int:
        """`member` with every free bit below `bit` cleared."""
        below = (1 << bit) - 1
        return member & ~below | self.value_number & below

    def describe(self) -> str:
        return f"bits {self.value.hex()}\nof   {self.mask.hex()}"


def _runs(bits: int) -> tuple[tuple[int, int], ...]:
    """The runs of ones in `bits`, lowest first, each as its lowest bit and its width."""
    runs = []
    while bits:
        start = (bits & -bits).bit_length() - 1
        width = ((~bits >> start) & -(~bits >> start)).bit_length() - 1
        runs.append((start, width))
        bits &= ~(((1 << width) - 1) << start)
    return tuple(runs)
