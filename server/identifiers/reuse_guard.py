"""Gives a session ID to no second client as long as the first may come back with it.

A client that came back with another client's ID would not get a full handshake: its handshake would
fail.  The session cache alone cannot prevent that, as it forgets sessions when it is full.  Only
records with few IDs need this memory: others never draw the same one twice.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import ceil

from homing.server.identifiers.journal import Journal
from homing.shared.part import Randbelow, Taken
from homing.shared.record import Record

_MANY = 1 << 64
"""Of so many IDs none is drawn twice by chance."""
_REMEMBERED = 1 << 20
"""IDs remembered at most, some 150 bytes each; no list is longer."""
_NEARLY_ALL = 0.95
"""If this part of the record rests, the search for another ID is slow: reuse the oldest first."""
_MOST_RESTING = 0.9
"""If this part of the record rests, its server needs more."""
_RETURNED = 1000


def has_few(record: Record) -> bool:
    """Whether drawing from `record` needs a guard."""
    return record.count() < _MANY


class ReuseGuard:
    """Draws 32-byte session IDs from `record`, which has few; times are in seconds.

    An ID that was drawn rests for `lifetime`, that of sessions, and for longer if there are others.
    With a `journal` the rest survives a restart of the server.
    """

    def __init__(
        self, record: Record, lifetime: float, now: float = 0.0, journal: Journal | None = None
    ) -> None:
        self._lifetime = lifetime
        self._journal = journal
        before = journal.read() if journal else {}
        self._resting = {one: now + min(left, lifetime) for one, left in before.items()}
        """When the rest of each ends; the one given out first comes first."""
        self._aside: dict[bytes, float] = {}
        """The same of IDs that are not of the record now: parts may leave it, and come back."""
        self._free: deque[bytes] = deque(maxlen=_RETURNED)
        """Some that no client got: they are drawn first, as that takes no search."""
        self.use(record, now)

    def use(self, record: Record, now: float) -> None:
        """Draw from `record` from now on."""
        self._record = record
        self._count = record.count()
        resting = sorted((self._aside | self._resting).items(), key=lambda one: one[1])
        self._resting = {one: end for one, end in resting if one in record}
        aside = [(one, end) for one, end in resting if end >= now and one not in record]
        self._aside = dict(aside[-_REMEMBERED:])
        self._free = deque((one for one in self._free if one in record), _RETURNED)

    def draw(self, now: float, randbelow: Randbelow, taken: Taken) -> bytes:
        """An ID that does not rest and is not `taken`.  Raises NoFreeIdentifier."""
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

    def nearly_used_up(self, now: float) -> bool:
        """Whether nearly all IDs rest."""
        enough = ceil(_MOST_RESTING * self._count)
        spared = len(self._resting) - enough  # so many of the oldest may have rested
        return spared >= 0 and next(islice(self._resting.values(), spared, None), now) > now

    def take_back(self, identifier: bytes) -> bool:
        """Free an ID that no client got; returns whether it was resting."""
        self._aside.pop(identifier, None)
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
        """The ID given out longest ago if its rest is over and nearly all rest; else None."""
        if len(self._resting) < _NEARLY_ALL * self._count:
            return None
        oldest, end = next(iter(self._resting.items()), (b"", now))
        if end >= now or taken(oldest):
            return None
        del self._resting[oldest]
        return oldest
