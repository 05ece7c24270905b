"""Takes the connections that a balancer on this machine hands over (`shared.handoff`)."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque

from twisted.internet.interfaces import IAddress, IFileDescriptorReceiver, IReactorSocket
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from server.tls import SessionTLSFactory
from shared.handoff import ACCEPTED, ENDED, REFUSED, greeting

_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


@implementer(IFileDescriptorReceiver)
class Receiver(Protocol):
    """The server's end of one balancer's link."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorSocket, connections: SessionTLSFactory, links: set[Receiver]
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._links = links
        self._descriptors: deque[int] = deque()
        self._welcome = False

    def connectionMade(self) -> None:
        link: socket.socket = self.transport.getHandle()  # type: ignore[union-attr]
        raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        pid, uid, _ = _PEER_CREDENTIALS.unpack(raw)
        self._links.add(self)
        if uid != os.geteuid():
            self._log.warn("refused a hand-off link of process {pid}, user {uid}", pid=pid, uid=uid)
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self._log.info("process {pid} hands connections over", pid=pid)
        self._welcome = True
        self._say(greeting(self._connections.active))
        self._connections.on_ended(self._tell_end)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)

    def dataReceived(self, data: bytes) -> None:
        for _ in data:
            if self._descriptors:
                self._take(socket.socket(fileno=self._descriptors.popleft()))
            else:  # the kernel had no descriptor left to give us
                self._log.error("out of descriptors: a connection goes back to the balancer")
                self._say(REFUSED)
        while self._descriptors:  # more than one came with a byte, which no balancer of ours sends
            os.close(self._descriptors.popleft())

    def _take(self, connection: socket.socket) -> None:
        """Serve `connection`, but only if the balancer hears of it, and so gives it up."""
        with connection:
            if not self._welcome or not self._say(ACCEPTED):
                return
            try:
                connection.setblocking(False)
                self._reactor.adoptStreamConnection(
                    connection.fileno(),
                    connection.family,
                    self._connections,  # type: ignore[arg-type]
                )
            except Exception as error:  # the client has gone, or the application failed: one
                # broken connection must not end the link, and the others with it
                self._log.warn("a connection ended on its way here: {error}", error=error)
                self._tell_end()

    def _tell_end(self) -> None:
        self._say(ENDED)

    def _say(self, words: bytes) -> bool:
        """Send at once, so that an answer is never behind the deed; whether that worked."""
        try:
            sent: int = self.transport.getHandle().send(words)  # type: ignore[union-attr]
        except OSError:
            sent = 0
        if sent < len(words):
            self.transport.abortConnection()  # type: ignore[union-attr]
        return sent == len(words)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._links.discard(self)
        if self._welcome:
            self._connections.forget(self._tell_end)
        while self._descriptors:
            os.close(self._descriptors.popleft())


class ReceiverFactory(Factory):
    """Links of balancers; `connections` serves what they hand over."""

    noisy = False

    def __init__(self, reactor: IReactorSocket, connections: SessionTLSFactory) -> None:
        self._reactor = reactor
        self._connections = connections
        self._links: set[Receiver] = set()

    def buildProtocol(self, addr: IAddress | None) -> Receiver:
        return Receiver(self._reactor, self._connections, self._links)

    def close(self) -> None:
        """End all links; what is under way on them goes back to the balancer."""
        for link in list(self._links):
            link.transport.loseConnection()  # type: ignore[union-attr]
