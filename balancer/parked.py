"""Connections that wait: for the busy server their identifier sends them to, or for any at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from homing.balancer.arrival import Arrival
from homing.shared.deadlines import Clock, Deadline

TICK = 0.25
"""Seconds between two looks at those that wait."""


class Parked:
    """At most `limit` connections wait for each server, or, under None, for any.

    Each waits for `patience` seconds in all, counted in ticks and not by the clock: a pause of this
    process is held against nobody.  Then, and at every tick if it waits for any server, `again` is
    called with it.  `bring` is called at every tick for each server that somebody waits for.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int,
        patience: float,
        again: Callable[[Arrival, str | None], None],
        bring: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._patience = _ticks(patience)
        self._again = again
        self._bring = bring
        self._rooms: dict[str | None, deque[Arrival]] = {}
        self._deadline: Deadline | None = None

    def renew(self, limit: int, patience: float) -> None:
        """Go on with other limits; who waits keeps the time it has left."""
        self._limit, self._patience = limit, _ticks(patience)

    def __len__(self) -> int:
        return sum(map(len, self._rooms.values()))

    def waits_for(self, server: str | None) -> bool:
        """Whether somebody does."""
        return server in self._rooms

    def add(self, arrival: Arrival, server: str | None) -> bool:
        """Have it wait; False when it has waited long enough, or too many wait for `server`.

        When too many wait for any server, the one that has waited longest is closed.
        """
        if arrival.patience is None:
            arrival.patience = self._patience
        room = self._rooms.get(server) or deque()
        if arrival.patience <= 0 or (server is not None and len(room) >= self._limit):
            return False
        if len(room) >= self._limit:
            room.popleft().close()
        room.append(arrival)
        self._rooms[server] = room
        if self._deadline is None:
            self._deadline = Deadline(self._clock, TICK, self._tick)
        return True

    def pass_on(self, server: str, take: Callable[[Arrival], bool]) -> None:
        """Pass those that wait for `server` to `take`, in order, until it says no."""
        room = self._rooms.get(server)
        while room and take(room[0]):
            room.popleft()
        if room is not None and not room:
            del self._rooms[server]

    def leave(self, server: str | None) -> deque[Arrival]:
        """Those that wait for `server`: they wait no longer."""
        return self._rooms.pop(server, deque())

    def close_all(self) -> None:
        """Close every connection, at the end."""
        if self._deadline is not None:
            self._deadline.cancel()
        for server in list(self._rooms):
            for arrival in self.leave(server):
                arrival.close()

    def _tick(self) -> None:
        self._deadline = None
        for server in list(self._rooms):
            for arrival in self.leave(server):
                assert arrival.patience is not None
                arrival.patience -= 1
                if server is None or not self.add(arrival, server):
                    self._again(arrival, server)
            if server is not None:
                self._bring(server)


def _ticks(seconds: float) -> int:
    return max(1, round(seconds / TICK))
