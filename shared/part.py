"""A part of all identifiers: what one owner may give out, by sets or by function (patent, p. 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from homing.shared.identifiers import LENGTH

Randbelow = Callable[[int], int]
"""A source of randomness: a uniform number from 0 up to, not including, its argument."""

Taken = Callable[[bytes], bool]
"""Whether an identifier is in use and must not be given out again."""


class Part(Protocol):
    """What a server draws identifiers from, and what an entry of the table lists.

    ID sets are parts, and so is what a server owns by a function (`homing.shared.by_function`).
    """

    def __contains__(self, identifier: bytes) -> bool: ...

    def count(self, length: int = LENGTH) -> int:
        """How many identifiers of `length` bytes it has, at least roughly.

        A short identifier is one that ends in zeros.
        """

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        """An identifier of `length` bytes that is not taken.  Raises NoFreeIdentifier."""

    def describe(self) -> str:
        """What it is, in a few words, for people."""


def random_bytes(randbelow: Randbelow, length: int) -> bytes:
    """So many random bytes."""
    return randbelow(1 << 8 * length).to_bytes(length, "big")
