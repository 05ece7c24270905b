"""Watches the socket of a connection whose hello is not complete."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.balancer.client_connection import ClientConnection
from homing.balancer.ingress import IngressReactor

_PAUSE = 0.05


@implementer(IReadDescriptor)
class HelloWatch:
    """Calls `more` when more of `client`'s hello has come, and `gone`, with why, when it has left.

    `more` returns False when it had no time to look.
    """

    __slots__ = ("_client", "_gone", "_more", "_pause", "_reactor", "_stopped")  # there are many

    def __init__(
        self,
        reactor: IngressReactor,
        client: ClientConnection,
        more: Callable[[ClientConnection], bool],
        gone: Callable[[ClientConnection, str], None],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._more = more
        self._gone = gone
        self._pause: IDelayedCall | None = None
        self._stopped = False
        reactor.addReader(self)

    def stop(self) -> None:
        """Stop watching; the socket must still be open."""
        self._stopped = True
        self._reactor.removeReader(self)
        if self._pause is not None:
            self._pause.cancel()

    def doRead(self) -> None:
        before = self._client.seen
        if not self._more(self._client) or self._stopped or self._client.seen != before:
            return
        if self._client.is_open():  # the kernel is short of memory
            self._reactor.removeReader(self)
            self._pause = self._reactor.callLater(_PAUSE, self._resume)
        else:
            self._gone(self._client, "it ended within its hello")

    def _resume(self) -> None:
        self._pause = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone(self._client, "its client left")

    def fileno(self) -> int:
        return self._client.socket.fileno()

    def logPrefix(self) -> str:
        return "hello"
