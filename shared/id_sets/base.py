"""What every ID set can do, and drawing, which is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import LENGTH

Randbelow = Callable[[int], int]
"""A source of randomness: a uniform number from 0 up to, not including, its argument."""

Taken = Callable[[bytes], bool]
"""Whether an identifier is in use and must not be given out again."""

_TRIES = 1024
_MOST_STEPS = 1 << 12


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

    When nearly all are taken, it is the next free one after a random place.  Raises
    NoFreeIdentifier when there is none, or none within 4,096 members of that place.
    """
    count = members.count(length)
    for _ in range(min(_TRIES, 8 * count)):
        candidate = members.nth(randbelow(count), length)
        if not taken(candidate):
            return candidate
    start = randbelow(count) if count else 0
    for step in range(min(count, _MOST_STEPS)):
        candidate = members.nth((start + step) % count, length)
        if not taken(candidate):
            return candidate
    raise NoFreeIdentifier(
        f"no free identifier of {length} bytes among {count}; give the server more of them, or "
        "shorten the lifetime of its sessions"
    )
