"""The sessions that a server keeps for its clients.  Pure.

OpenSSL's own cache is not used.  It hashes a session by the first four bytes of its ID, which may
be the same in all, and it drops a session when anybody breaks off a handshake that names it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf


class SessionCache:
    """At most `most` sessions by their IDs, each for `lifetime` seconds; the oldest go first."""

    def __init__(self, most: int, lifetime: float, now: Callable[[], float]) -> None:
        self._most = most
        self._lifetime = lifetime
        self._now = now
        # In the order in which they expire.  A plain dict is slow to find its first entry
        self._sessions: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, identifier: bytes) -> bool:
        return self.get(identifier) is not None

    def put(self, identifier: bytes, session: bytes) -> None:
        """Keep a session, in place of what its ID named before."""
        now = self._now()
        self._sessions.pop(identifier, None)
        self._sessions[identifier] = session, now + self._lifetime
        while len(self._sessions) > self._most or self._oldest_end() <= now:
            self._sessions.popitem(last=False)

    def get(self, identifier: bytes) -> bytes | None:
        """The session of an ID, unless it has expired."""
        session, end = self._sessions.get(identifier, (None, 0.0))
        return session if self._now() < end else None

    def end(self, identifier: bytes) -> float:
        """When the session of an ID expires; endless if it is not kept here."""
        return self._sessions.get(identifier, (b"", inf))[1]

    def _oldest_end(self) -> float:
        return next(iter(self._sessions.values()))[1]
