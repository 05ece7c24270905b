"""What every ID set can do, and drawing, which is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from shared.errors import NoFreeIdentifier
from shared.identifiers import LENGTH

Randbelow = Callable[[int], int]
"""A source of randomness: a uniform number from 0 up to, not including, its argument."""

Taken = Callable[[bytes], bool]
"""Whether an identifier is in use and must not be given out again."""

_TRIES = 64
_SMALL = 1 << 16


class Numbered(Protocol):
    """Identifiers that can be counted and numbered; all that drawing needs."""

    def count(self, length: int = LENGTH) -> int:
        """How many members can be written in `length` bytes: the rest of them is zeros."""

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        """Member number `index`, from 0, of those that `count` counts, in `length` bytes."""


class IdSet(Numbered, Protocol):
    """A set of identifiers."""

    @property
    def first(self) -> bytes:
        """The lowest member, 32 bytes."""

    @property
    def last(self) -> bytes:
        """The highest member, 32 bytes."""

    def __contains__(self, identifier: bytes) -> bool: ...

    def to_data(self) -> dict[str, Any]:
        """The set as plain data, in the words of farm.toml's ``ids``."""


def draw(members: Numbered, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
    """A uniformly chosen member of `length` bytes that is not taken.

    Large sets are sparsely used, so a few tries find a free member; small ones may be nearly used
    up, so there the free members are listed.  Raises NoFreeIdentifier when none is left.
    """
    count = members.count(length)
    for _ in range(_TRIES if count else 0):
        candidate = members.nth(randbelow(count), length)
        if not taken(candidate):
            return candidate
    if count <= _SMALL:
        everything = (members.nth(index, length) for index in range(count))
        free = [candidate for candidate in everything if not taken(candidate)]
        if free:
            return free[randbelow(len(free))]
    raise NoFreeIdentifier(
        f"no free identifier of {length} bytes among {count}; give the server more of them, or "
        "shorten the lifetime of its sessions"
    )
