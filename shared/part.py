"""A part of all identifiers: what one owner may give out, by sets or by function (patent, p. 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from homing.shared.identifiers import LENGTH, padded

Randbelow = Callable[[int], int]
"""A source of randomness: a uniform number from 0 up to, not including, its argument."""

Taken = Callable[[bytes], bool]
"""Whether an identifier is in use and must not be given out again."""


class Identifiers(Protocol):
    """Identifiers, of which it can be told whether one is among them."""

    def __contains__(self, identifier: bytes, /) -> bool: ...


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


def _all_padded(identifiers: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(map(padded, identifiers))


@attrs.frozen
class Without:
    """`part` without some `identifiers`, which still live at its former owner (patent, p. 9)."""

    part: Part
    identifiers: frozenset[bytes] = attrs.field(converter=_all_padded)

    def __contains__(self, identifier: bytes) -> bool:
        return identifier in self.part and padded(identifier) not in self.identifiers

    def count(self, length: int = LENGTH) -> int:
        end = bytes(LENGTH - length)
        missing = sum(one.endswith(end) and one in self.part for one in self.identifiers)
        return max(0, self.part.count(length) - missing)

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        def taken_or_missing(identifier: bytes) -> bool:
            return padded(identifier) in self.identifiers or taken(identifier)

        return self.part.draw(randbelow, taken_or_missing, length)

    def describe(self) -> str:
        return f"{self.part.describe()}\nwithout {len(self.identifiers):,} identifiers in use"
