"""Connections whose hello is not complete: peeked again as more comes, never for long."""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.balancer.arrival import Arrival
from homing.balancer.turn import Turn
from homing.shared.client_hello import NeedMore
from homing.shared.deadlines import Deadline

_PAUSE = 0.05
_TICKS = 10
"""Parts that the time of a connection is counted in."""


class Reactor(IReactorFDSet, IReactorTime):
    """What waiting needs of the reactor."""


class WaitingRoom:
    """At most `limit` connections wait here, each for at most `timeout` seconds.

    When it is full, the one that has waited longest is closed: it is the least likely to go on,
    and clients that send their hello in one go never wait.  The time is counted in ticks and not by
    the clock: a pause of this process is held against nobody.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        limit: int,
        timeout: float,
        ceiling: int,
        ready: Callable[[Arrival], None],
        turn: Turn,
    ) -> None:
        self._reactor = reactor
        self._limit = limit
        self._timeout = timeout
        self._ceiling = ceiling
        self._ready = ready
        self._turn = turn
        self._now = 0  # in ticks
        self._waiting: dict[_Waiting, int] = {}  # in order of their deadlines
        self._deadline: Deadline | None = None

    def renew(self, limit: int, timeout: float, ceiling: int) -> None:
        """Go on with other limits; ticks are longer or shorter from the next one on."""
        self._limit, self._timeout, self._ceiling = limit, timeout, ceiling

    def __len__(self) -> int:
        return len(self._waiting)

    def receive(self, arrival: Arrival) -> None:
        """Peek at a new connection; pass it on as soon as its hello is complete."""
        state = self._look(arrival)
        if state is _State.READY:
            self._ready(arrival)
        elif state is _State.WAITS:
            self._keep(_Waiting(arrival, self))
        else:
            arrival.close()

    def look_again(self, waiting: _Waiting) -> None:
        """More has come for a connection, or its client has gone."""
        if self._turn.begin():
            self._look_again(waiting)
            self._turn.end()

    def _look_again(self, waiting: _Waiting) -> None:
        arrival, before = waiting.arrival, waiting.arrival.seen
        state = self._look(arrival)
        if state is _State.WAITS:
            if arrival.seen == before:
                self._pause(waiting)
            return
        self._leave(waiting)
        if state is _State.READY:
            self._pass_on(arrival)
        else:
            arrival.close()

    def _pass_on(self, arrival: Arrival) -> None:
        _wake_at(arrival, 1)
        self._ready(arrival)

    def close(self, waiting: _Waiting, why: str) -> None:
        """Give up on a connection."""
        self._log.debug("closed {source}: {why}", source=waiting.arrival.source, why=why)
        self._leave(waiting)
        waiting.arrival.close()

    def close_all(self) -> None:
        """Give up on every connection, at the end."""
        for waiting in list(self._waiting):
            self.close(waiting, "the balancer stops")
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _look(self, arrival: Arrival) -> _State:
        try:
            outcome = arrival.reader(self._ceiling).feed(arrival.peek(self._ceiling))
        except BlockingIOError:
            return _State.WAITS
        except OSError as error:
            self._log.debug("{source} left: {error}", source=arrival.source, error=error)
            return _State.GONE
        if isinstance(outcome, NeedMore):
            _wake_at(arrival, arrival.seen + outcome.at_least)
            return _State.WAITS
        arrival.hello = outcome
        return _State.READY

    def _keep(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= self._limit:
            self.close(next(iter(self._waiting)), "too many connections wait for their hello")
        self._waiting[waiting] = self._now + _TICKS
        self._reactor.addReader(waiting)
        if self._deadline is None:
            self._watch()

    def _leave(self, waiting: _Waiting) -> None:
        self._reactor.removeReader(waiting)
        self._waiting.pop(waiting, None)
        if waiting.pause is not None:
            waiting.pause.cancel()
            waiting.pause = None

    def _pause(self, waiting: _Waiting) -> None:
        """Woken for nothing: the client has gone, or the kernel is short of memory."""
        if not waiting.arrival.is_open():
            self.close(waiting, "it ended within its hello")
            return
        self._reactor.removeReader(waiting)
        waiting.pause = self._reactor.callLater(_PAUSE, self._resume, waiting)

    def _resume(self, waiting: _Waiting) -> None:
        waiting.pause = None
        self._reactor.addReader(waiting)

    def _watch(self) -> None:
        self._deadline = Deadline(self._reactor, self._timeout / _TICKS, self._tick)

    def _tick(self) -> None:
        self._now += 1
        self._close_late()

    def _close_late(self) -> None:
        """Close those whose time is over, as many as the turn allows."""
        self._deadline = None
        while self._waiting:
            waiting, deadline = next(iter(self._waiting.items()))
            if deadline >= self._now:
                self._watch()
                return
            if not self._turn.begin():
                self._deadline = Deadline(self._reactor, 0, self._close_late)
                return
            self._last_look(waiting)
            self._turn.end()

    def _last_look(self, waiting: _Waiting) -> None:
        """Its time is over, but the rest of its hello may have come this moment."""
        if self._look(waiting.arrival) is _State.READY:
            self._leave(waiting)
            self._pass_on(waiting.arrival)
        else:
            self.close(waiting, f"no hello within {self._timeout:g} s")


class _State(Enum):
    READY = "its hello is complete, or is none"
    WAITS = "more must come"
    GONE = "its client has gone"


def _wake_at(arrival: Arrival, size: int) -> None:
    """Have the kernel report `arrival` readable only when so many bytes are there.

    Without this, epoll would report a partly arrived hello again and again.
    """
    arrival.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class _Waiting:
    """What the reactor watches for one connection."""

    arrival: Arrival
    room: WaitingRoom
    pause: IDelayedCall | None = None

    def doRead(self) -> None:
        self.room.look_again(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.room.close(self, "its client left")

    def fileno(self) -> int:
        return self.arrival.socket.fileno()

    def logPrefix(self) -> str:
        return "hello"
