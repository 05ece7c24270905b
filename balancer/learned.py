"""Identifiers that servers were seen to give out: "a list of actually assigned IDs" (patent, p. 8).

For relayed servers, above all those without a record.  Pure; times come in as seconds.
"""

from __future__ import annotations

MOST_KEY_NAMES = 1024
"""Key names of tickets that are remembered; each stands for all tickets under that key."""


class LearnedIds:
    """At most `limit` identifiers, each for `lifetime` seconds after it was last seen."""

    def __init__(self, limit: int, lifetime: float) -> None:
        self._limit = limit
        self._lifetime = lifetime
        self._owners: dict[bytes, tuple[str, float]] = {}  # the longest unseen first

    def __len__(self) -> int:
        return len(self._owners)

    def learn(self, identifier: bytes, server: str, now: float) -> None:
        """`server` gave `identifier` out, or resumed it, just now."""
        self._owners.pop(identifier, None)
        self._owners[identifier] = server, now
        if len(self._owners) > self._limit:
            del self._owners[next(iter(self._owners))]

    def owner(self, identifier: bytes, now: float) -> str | None:
        """The server that gave `identifier` out; None if unknown, or seen too long ago."""
        found = self._owners.get(identifier)
        if found is None:
            return None
        server, seen = found
        if now - seen >= self._lifetime:
            del self._owners[identifier]
            return None
        return server
