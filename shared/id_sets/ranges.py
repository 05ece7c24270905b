"""Ranges of identifiers, both ends included; a prefix is one (patent, p. 3)."""

from __future__ import annotations

from functools import lru_cache

import attrs

from homing.shared.id_sets.base import Numbered
from homing.shared.identifiers import LENGTH, from_number, number, padded
from homing.shared.part import Randbelow, Taken


def _end(last: bytes) -> bytes:
    return last[:LENGTH].ljust(LENGTH, b"\xff")


@lru_cache(64)  # those that a server draws from
def _steps(first: bytes, last: bytes, length: int) -> tuple[int, int]:
    """The lowest member of `length` bytes, as a number, and how many there are."""
    tail = 8 * (LENGTH - length)
    low, high = -(-number(first) >> tail), number(last) >> tail
    return low, max(0, high - low + 1)


@attrs.frozen
class IdRange(Numbered):
    """All identifiers from `first` to `last`, 32 bytes each, both included."""

    first: bytes = attrs.field(converter=padded)
    last: bytes = attrs.field(converter=_end)
    """A shorter one is padded with ff."""

    def __attrs_post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"the range ends ({self.last.hex()}) below its start")

    @classmethod
    def of_prefix(cls, prefix: bytes) -> IdRange:
        """All identifiers that start with `prefix`."""
        return cls(prefix, prefix)

    def __contains__(self, identifier: bytes) -> bool:
        return self.first <= padded(identifier) <= self.last

    def count(self, length: int = LENGTH) -> int:
        return _steps(self.first, self.last, length)[1]

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        return (_steps(self.first, self.last, length)[0] + index).to_bytes(length, "big")

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        low, count = _steps(self.first, self.last, length)
        if count:  # the first try, which nearly always is the last, in one go
            member = (low + randbelow(count)).to_bytes(length, "big")
            if not taken(member):
                return member
        return super().draw(randbelow, taken, length)

    def describe(self) -> str:
        return f"from {self.first.hex()}\nto   {self.last.hex()}"

    @classmethod
    def of_numbers(cls, first: int, last: int) -> IdRange:
        """The range between two numbers of 256 bits, both included."""
        return cls(from_number(first), from_number(last))
