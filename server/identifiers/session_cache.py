"""The sessions that a server keeps for its clients.  Pure: times come in, in seconds.

OpenSSL's own cache is not used: it finds a session by the first four bytes of its ID, which may be
the same in all, and it throws one out when anybody breaks off a handshake that names it.
"""

from __future__ import annotations

from collections import OrderedDict


class SessionCache:
    """Sessions by their IDs, each for `lifetime`; at most `most`, then the oldest goes."""

    def __init__(self, most: int, lifetime: float) -> None:
        self._most = most
        self._lifetime = lifetime
        # In the order in which they expire.  A plain dict is slow to find its first entry
        self._sessions: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def put(self, identifier: bytes, session: bytes, now: float) -> None:
        """Keep a session, in place of what its ID named before."""
        self._sessions.pop(identifier, None)
        self._sessions[identifier] = session, now + self._lifetime
        while len(self._sessions) > self._most or self._oldest_end() <= now:
            self._sessions.popitem(last=False)

    def get(self, identifier: bytes, now: float) -> bytes | None:
        """The session of an ID, unless it has expired."""
        session, end = self._sessions.get(identifier, (None, now))
        return session if now < end else None

    def _oldest_end(self) -> float:
        return next(iter(self._sessions.values()))[1]
