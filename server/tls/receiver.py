"""Accepts the connections that a balancer on this machine hands over (`shared/handoff.py`)."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IFileDescriptorReceiver,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.server.reactor import ServerReactor
from homing.server.tls.factory import SessionTLSFactory
from homing.server.tls.sockets import end
from homing.shared.handoff import ACCEPTED, ENDED, PEER_CREDENTIALS, REFUSED, greeting
from homing.shared.rarely import Rarely

_PAUSE = 0.02
"""Seconds after which an answer is sent again that the socket's buffer had no room for."""


@implementer(IFileDescriptorReceiver)
class Receiver(Protocol):
    """The server's end of one balancer's link."""

    _log = Logger()

    def __init__(self, factory: ReceiverFactory) -> None:
        self._factory = factory
        self._descriptors: deque[int | None] = deque()
        self._unnumbered = 0
        self._known: set[object] = set()
        self._retry: IDelayedCall | None = None
        self._welcome = False

    def connectionMade(self) -> None:
        link: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        pid, uid, _ = PEER_CREDENTIALS.unpack(raw)
        self._factory.links.add(self)
        if uid != os.geteuid():
            self._log.warn("refused a hand-off link of process {pid}, user {uid}", pid=pid, uid=uid)
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self._log.debug("process {pid} hands connections over", pid=pid)
        self._welcome = True
        self._known = set(self._factory.connections.connections)
        self._factory.connections.on_ended(self._tell_end)
        self._say(greeting(len(self._known), self._factory.digest()))

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)
        self._unnumbered += 1

    def dataReceived(self, data: bytes) -> None:
        # Every byte stands for one connection; if this process has no descriptor left, the kernel
        # delivers the byte alone
        missing = len(data) - self._unnumbered
        self._unnumbered = 0
        self._descriptors.extend([None] * missing)
        self._take_waiting()

    def _take_waiting(self) -> None:
        """Answer for what has come, in order, as fast as the balancer reads the answers."""
        self._retry = None
        while self._descriptors:
            descriptor = self._descriptors[0]
            if not self._say(REFUSED if descriptor is None else ACCEPTED):
                if self.transport is not None and self._welcome:
                    self._retry = self._factory.reactor.callLater(_PAUSE, self._take_waiting)
                return
            self._descriptors.popleft()
            if descriptor is None:
                self._factory.given_back.happened()
            else:
                self._take(descriptor)

    def _take(self, descriptor: int) -> None:
        """Serve a connection, which the balancer has given up."""
        taken = connection = None
        try:
            connection = _connection(descriptor)
            taken = self._factory.connections.take(connection)
        except Exception:  # must not end the link, and other connections with it
            self._log.failure("a connection could not be taken")
            if connection is not None:
                end(connection)
        if taken is None:
            self._tell(ENDED)
        else:
            self._known.add(taken)

    def _tell_end(self, connection: object) -> None:
        if connection in self._known:
            self._known.discard(connection)
            self._tell(ENDED)

    def _tell(self, words: bytes) -> None:
        """Send now if there is room, or else later."""
        if self._welcome and not self._say(words):
            self.transport.write(words)  # type: ignore[union-attr]

    def _say(self, words: bytes) -> bool:
        """Send now, as an answer must come before its connection is served; whether it was sent."""
        try:
            sent: int = self.transport.getHandle().send(words)  # type: ignore[union-attr]
        except BlockingIOError:
            return False
        except OSError:
            self._welcome = False
            self.transport.abortConnection()  # type: ignore[union-attr]
            return False
        return sent == len(words)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.links.discard(self)
        if self._retry is not None:
            self._retry.cancel()
        self._welcome = False
        self._factory.connections.forget(self._tell_end)
        for descriptor in self._descriptors:
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors.clear()


def _connection(descriptor: int) -> socket.socket:
    """The socket with this descriptor, which is a TCP connection's: the kernel need not be asked.

    Raises OSError when it is none.
    """
    try:
        return socket.socket(type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise


class ReceiverFactory(Factory):
    """Makes a receiver for each balancer's link; `connections` serves what they hand over.

    `digest` says what the server draws from (`shared/fingerprint.py`).
    """

    noisy = False

    _log = Logger()

    def __init__(
        self,
        reactor: ServerReactor,
        connections: SessionTLSFactory,
        digest: Callable[[], bytes],
    ) -> None:
        self.reactor = reactor
        self.digest = digest
        self.connections = connections
        self.links: set[Receiver] = set()
        self.given_back = Rarely(self._say_given_back)

    def buildProtocol(self, addr: IAddress | None) -> Receiver:
        return Receiver(self)

    def _say_given_back(self, count: int) -> None:
        self._log.error(
            "out of descriptors: connections that go back to the balancer: {count}", count=count
        )

    def close(self) -> None:
        """End all links; connections under way on them stay the balancer's."""
        for link in list(self.links):
            link.transport.loseConnection()  # type: ignore[union-attr]
