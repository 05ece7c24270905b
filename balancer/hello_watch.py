"""What the reactor watches for connections whose hello is not complete."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.balancer.client_connection import ClientConnection
from homing.balancer.time_slice import TimeSlice

_PAUSE = 0.05


class Reactor(IReactorFDSet, IReactorTime):
    """What watching needs of the reactor."""


class HelloWatch:
    """Calls `more` when more of a hello has come, and `gone` when its client has left, with why."""

    def __init__(
        self,
        reactor: Reactor,
        time_slice: TimeSlice,
        more: Callable[[ClientConnection], None],
        gone: Callable[[ClientConnection, str], None],
    ) -> None:
        self._reactor = reactor
        self._slice = time_slice
        self._more = more
        self.gone = gone
        self._watched: dict[ClientConnection, _Watched] = {}

    def begin(self, client: ClientConnection) -> None:
        """Watch a connection."""
        self._watched[client] = one = _Watched(client, self)
        self._reactor.addReader(one)

    def end(self, client: ClientConnection) -> None:
        """Watch it no longer; its socket must still be open."""
        one = self._watched.pop(client)
        self._reactor.removeReader(one)
        if one.pause is not None:
            one.pause.cancel()

    def look(self, one: _Watched) -> None:
        """The reactor says that there is something to read."""
        if self._slice.begin():
            before = one.client.seen
            self._more(one.client)
            if one.client in self._watched and one.client.seen == before:
                self._woken_for_nothing(one)
            self._slice.end()

    def _woken_for_nothing(self, one: _Watched) -> None:
        """The client has gone, or the kernel is short of memory."""
        if not one.client.is_open():
            self.gone(one.client, "it ended within its hello")
            return
        self._reactor.removeReader(one)
        one.pause = self._reactor.callLater(_PAUSE, self._resume, one)

    def _resume(self, one: _Watched) -> None:
        one.pause = None
        self._reactor.addReader(one)


@implementer(IReadDescriptor)
class _Watched:
    """One connection, as the reactor sees it."""

    def __init__(self, client: ClientConnection, watch: HelloWatch) -> None:
        self.client = client
        self.pause: IDelayedCall | None = None
        self._watch = watch

    def doRead(self) -> None:
        self._watch.look(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._watch.gone(self.client, "its client left")

    def fileno(self) -> int:
        return self.client.socket.fileno()

    def logPrefix(self) -> str:
        return "hello"
