"""The one waiting room: for the rest of a hello, for a busy server, or for any server at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from homing.balancer.client_connection import ClientConnection
from homing.balancer.time_slice import TimeSlice
from homing.shared.deadlines import Clock, Deadline

TICK = 0.25
"""Seconds between two looks at the connections that wait."""

_REST = 0.01
"""Seconds between two time slices that end late ones: whoever can be served comes first."""


class For(Enum):
    """What a connection waits for, if not for a busy server."""

    HELLO = "the rest of its hello"
    ANY_SERVER = "any server"


WaitsFor = For | str
"""A string is the name of a busy server."""

_InOrder = OrderedDict[ClientConnection, None]
_Key = TypeVar("_Key", WaitsFor, int)


class WaitingRoom:
    """At most `limit` connections wait here, all together, each for `timeout` seconds in all.

    The time begins when a connection first waits.  It is counted in ticks, not by the clock, so
    that a pause of this process ends no connection.  At every tick `retry` is called with each
    thing that is waited for.  Then `over` is called with each connection whose time has ended, what
    it waited for, and False.

    When the room is full, one connection is evicted: `over` is called with True.  It is the one
    that has waited longest for its hello, even if it has just come: attackers can open many of
    those, and must not evict clients that come back.  Where none waits for its hello, it is the one
    that has waited longest of all.
    """

    def __init__(
        self,
        clock: Clock,
        time_slice: TimeSlice,
        retry: Callable[[WaitsFor], None],
        over: Callable[[ClientConnection, WaitsFor, bool], None],
        *,
        limit: int,
        timeout: float,
    ) -> None:
        self._clock = clock
        self._slice = time_slice
        self._retry = retry
        self._over = over
        self.renew(limit, timeout)
        self._now = 0  # in ticks
        self._waiting: dict[ClientConnection, WaitsFor] = {}
        self._queues: dict[WaitsFor, _InOrder] = {}
        self._by_deadline: dict[int, _InOrder] = {}
        self._timer: Deadline | None = None
        self._resting: Any = None

    def renew(self, limit: int, timeout: float) -> None:
        """Go on with other limits; connections that wait keep the time they have left."""
        self._limit, self._ticks = limit, max(1, round(timeout / TICK))

    def __len__(self) -> int:
        return len(self._waiting)

    def queue(self, what: WaitsFor) -> tuple[ClientConnection, ...]:
        """The connections that wait for `what`, in order."""
        return tuple(self._queues.get(what, ()))

    @property
    def awaited(self) -> tuple[WaitsFor, ...]:
        """All that is waited for."""
        return tuple(self._queues)

    def is_awaited(self, what: WaitsFor) -> bool:
        """Whether a connection waits for `what`."""
        return what in self._queues

    def add(self, client: ClientConnection, what: WaitsFor) -> None:
        """Let a connection wait; when the room is full, one that waits is evicted."""
        if client.deadline is None:
            client.deadline = self._now + self._ticks + 1  # the present tick is not a whole one
        self._enter(client, what)
        if self._timer is None:
            self._timer = Deadline(self._clock, TICK, self._tick)
        while len(self._waiting) > self._limit:
            self._end(self._first_to_go(), early=True)

    def _enter(self, client: ClientConnection, what: WaitsFor) -> None:
        assert client.deadline is not None
        self._waiting[client] = what
        self._queues.setdefault(what, OrderedDict())[client] = None
        self._by_deadline.setdefault(client.deadline, OrderedDict())[client] = None

    def leave(self, client: ClientConnection) -> WaitsFor | None:
        """Take a connection out; what it waited for, None if it did not wait."""
        what = self._waiting.pop(client, None)
        if what is not None:
            assert client.deadline is not None
            _take_out(self._queues, what, client)
            _take_out(self._by_deadline, client.deadline, client)
        return what

    def pass_on(self, what: WaitsFor, place: Callable[[ClientConnection], WaitsFor | None]) -> None:
        """Place the connections that wait for `what`, in order, until one has to go on waiting.

        `place` returns what a connection has to wait for now, None when it need not wait.
        """
        left = len(self._queues.get(what, ()))  # not those that begin to wait meanwhile
        while left and what in self._queues:
            left -= 1
            client = next(iter(self._queues[what]))
            self.leave(client)
            waits_for = place(client)
            if waits_for == what:
                self._enter(client, what)
                self._queues[what].move_to_end(client, last=False)
                break
            if waits_for is not None:
                self.add(client, waits_for)

    def clear(self) -> list[ClientConnection]:
        """Take all connections out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        everybody = list(self._waiting)
        for client in everybody:
            self.leave(client)
        return everybody

    def _first_to_go(self) -> ClientConnection:
        hellos = self._queues.get(For.HELLO)
        return next(iter(hellos or self._by_deadline[min(self._by_deadline)]))

    def _end(self, client: ClientConnection, *, early: bool) -> None:
        what = self.leave(client)
        assert what is not None
        self._over(client, what, early)

    def _tick(self) -> None:
        self._timer = Deadline(self._clock, TICK, self._tick)
        self._now += 1
        for what in list(self._queues):
            self._retry(what)
        self._end_late()

    def _end_more(self) -> None:
        self._resting = None
        self._end_late()

    def _end_late(self) -> None:
        """End the waiting of those whose time has ended, as many as the time slice allows."""
        while self._by_deadline and (first := min(self._by_deadline)) <= self._now:
            if not self._slice.begin():
                if self._resting is None:
                    self._resting = self._clock.callLater(_REST, self._end_more)
                return
            self._end(next(iter(self._by_deadline[first])), early=False)
            self._slice.end()
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _take_out(queues: dict[_Key, _InOrder], key: _Key, client: ClientConnection) -> None:
    """Take a connection out of the queue at `key`, and remove that if it is empty."""
    del queues[key][client]
    if not queues[key]:
        del queues[key]
