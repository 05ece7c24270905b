"""Drawing from an ID set, which is the same for all kinds."""

from __future__ import annotations

from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import LENGTH
from homing.shared.part import Randbelow, Taken

_TRIES = 1024
_MOST_STEPS = 1 << 12


class Numbered:
    """Identifiers that are counted and numbered, so that any can be drawn."""

    __slots__ = ()

    def count(self, length: int = LENGTH) -> int:
        """How many members have only zeros after the first `length` bytes."""
        raise NotImplementedError

    def nth(self, index: int, length: int = LENGTH) -> bytes:
        """Member number `index`, from 0, of those that `count` counts, in `length` bytes."""
        raise NotImplementedError

    def draw(self, randbelow: Randbelow, taken: Taken, length: int = LENGTH) -> bytes:
        """A uniformly chosen member of `length` bytes that is not taken.

        When nearly all are taken, the next free one after a random place is drawn.  Raises
        NoFreeIdentifier when none is found within 4,096 members of that place.
        """
        count = self.count(length)
        for _ in range(min(_TRIES, 8 * count)):
            candidate = self.nth(randbelow(count), length)
            if not taken(candidate):
                return candidate
        start = randbelow(count) if count else 0
        for step in range(min(count, _MOST_STEPS)):
            candidate = self.nth((start + step) % count, length)
            if not taken(candidate):
                return candidate
        raise NoFreeIdentifier(
            f"no free identifier of {length} bytes among {count}; give the server more of them, or "
            "shorten the lifetime of its sessions"
        )
