"""Keeps a session ID from a second client as long as the first may come back with it.

A client that came back with an ID which has become another client's would fail its handshake, not
get a full one.  The session cache knows fewer IDs than clients do: it forgets sessions when it is
full.  Only records with so few IDs that chance would meet them again need this memory.
"""

from __future__ import annotations

from collections import deque

from homing.server.identifiers.journal import Journal
from homing.shared.part import Randbelow, Taken
from homing.shared.record import Record

_MANY = 1 << 64
"""So many IDs never meet by chance."""
_REMEMBERED = 1 << 20
"""IDs remembered at most, some 150 bytes each; no list is longer."""
_NEARLY_ALL = 0.95
"""When this part of the record rests, IDs whose rest is over are taken first: a search is slow."""
_RETURNED = 1000


def has_few(record: Record) -> bool:
    """Whether drawing from `record` needs a guard."""
    return record.count() < _MANY


class ReuseGuard:
    """Draws 32-byte session IDs from `record`, which has few; times are in seconds.

    An ID rests for `lifetime`, that of sessions, and longer as long as there are others.  With a
    `journal` it rests over a restart of the server, too.
    """

    def __init__(
        self, record: Record, lifetime: float, now: float = 0.0, journal: Journal | None = None
    ) -> None:
        self._lifetime = lifetime
        self._journal = journal
        before = journal.read() if journal else {}
        self._resting = {one: now + min(left, lifetime) for one, left in before.items()}
        """Until when each rests; the one given out first stands first."""
        self._free: deque[bytes] = deque(maxlen=_RETURNED)
        """Some that no client got, first to be drawn again: nobody has to look for them."""
        self.use(record)

    def use(self, record: Record) -> None:
        """Draw from `record` from now on."""
        self._record = record
        self._count = record.count()
        self._resting = {one: end for one, end in self._resting.items() if one in record}
        self._free = deque((one for one in self._free if one in record), _RETURNED)

    def draw(self, now: float, randbelow: Randbelow, taken: Taken) -> bytes:
        """One that rests no more, and is not `taken`.  Raises NoFreeIdentifier."""
        identifier = (
            self._returned(taken)
            or self._rested(now, taken)
            or self._record.draw(randbelow, lambda one: one in self._resting or taken(one))
        )
        self._resting[identifier] = now + self._lifetime
        if self._journal:
            self._journal.note(identifier, self._lifetime)
        if len(self._resting) > _REMEMBERED:
            del self._resting[next(iter(self._resting))]
        return identifier

    def take_back(self, identifier: bytes) -> bool:
        """No client got it; whether it is free again by that."""
        if self._resting.pop(identifier, None) is None:
            return False
        self._free.append(identifier)
        if self._journal:
            self._journal.note(identifier, 0.0)
        return True

    def _returned(self, taken: Taken) -> bytes | None:
        while self._free:
            identifier = self._free.pop()
            if not taken(identifier):
                return identifier
        return None

    def _rested(self, now: float, taken: Taken) -> bytes | None:
        """The one given out longest ago, if hardly any is left that never was."""
        if len(self._resting) < _NEARLY_ALL * self._count:
            return None
        oldest, end = next(iter(self._resting.items()), (b"", now))
        if end >= now or taken(oldest):
            return None
        del self._resting[oldest]
        return oldest
