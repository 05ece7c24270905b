"""The two TCP connections of a relayed one: what one reads, the other writes, to the last byte."""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT, socket
from typing import cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

_LAST_WORDS = 1 << 18
"""Bytes that are still read from a lost connection, at most."""


@implementer(IHalfCloseableProtocol)
class Pipe(Protocol, TimeoutMixin):
    """One connection of a pair; what it reads, the other writes."""

    def __init__(
        self,
        idle_timeout: float,
        stall_timeout: float,
        ended: Callable[[Pipe], None],
        overhear: Callable[[bytes], None] | None = None,
    ) -> None:
        self._idle_timeout = idle_timeout
        self._stall_timeout = stall_timeout
        self._ended = ended
        self._overhear = overhear
        """Gets everything that is read, too."""
        self.peer: Pipe | None = None
        self._sent_everything = False
        self._is_last = False
        """Whether the other connection has ended, and only what it sent last is left to write."""
        self._handed_down = False
        """Whether the kernel has everything that is to be written."""

    @property
    def tcp(self) -> Connection:
        """The transport."""
        return cast(Connection, self.transport)

    def connectionMade(self) -> None:
        self.tcp.setTcpNoDelay(True)
        self.tcp.setTcpKeepAlive(True)
        self.setTimeout(self._idle_timeout)
        read_before_losing(self.tcp)
        if self.peer is None:
            self.tcp.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._overhear is not None:
            self._overhear(data)
        peer = self.peer
        if peer is not None:
            peer.tcp.write(data)
            self.resetTimeout()
            peer.resetTimeout()
        elif self._is_last and not self._has_unsent():
            self.tcp.abortConnection()  # nobody is left to hear it

    def readConnectionLost(self) -> None:
        """This side has sent everything: half-close the other, which may go on sending."""
        self._sent_everything = True
        peer = self.peer
        if peer is None:
            self.tcp.loseConnection()
            return
        peer.tcp.unregisterProducer()
        if peer._sent_everything:
            self.tcp.unregisterProducer()
            self.tcp.loseConnection()
            peer.tcp.loseConnection()
        else:
            peer.tcp.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        self._handed_down = True

    def _has_unsent(self) -> bool:
        return not self._handed_down or has_unsent(self.tcp)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            peer.tcp.unregisterProducer()
            if reason.check(ConnectionAborted):
                peer.tcp.abortConnection()
            elif reason.check(ConnectionDone):
                peer.tcp.loseConnection()
            else:
                peer.be_last()
        self._ended(self)

    def be_last(self) -> None:
        """The other side was reset: write what it had sent, then end.

        A plain close becomes a reset where something unread has come, and a reset drops what is
        on its way: so only our half is closed at first.
        """
        self._is_last = True
        limit_stalls(self.tcp.getHandle(), self._stall_timeout)
        self.setTimeout(self._stall_timeout)
        self.tcp.loseWriteConnection()
        self.tcp.resumeProducing()

    def timeoutConnection(self) -> None:
        if self._is_last and self._has_unsent():
            self.setTimeout(self._stall_timeout)  # it reads, or the kernel ends it
        else:
            self.tcp.abortConnection()


def join(one: Pipe, other: Pipe) -> None:
    """Let bytes flow between two connections, each no faster than the other takes them."""
    one.peer, other.peer = other, one
    one.tcp.registerProducer(other.tcp, True)
    other.tcp.registerProducer(one.tcp, True)
    one.tcp.resumeProducing()
    other.tcp.resumeProducing()


def limit_stalls(connection: socket, seconds: float) -> None:
    """Have the kernel end a connection whose other end takes nothing of what is sent for long."""
    connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(1000 * seconds))


def has_unsent(tcp: Connection) -> bool:
    """Whether the kernel has bytes that the other end has not taken yet."""
    return any(fcntl.ioctl(tcp.getHandle(), termios.TIOCOUTQ, bytes(4)))


def read_before_losing(tcp: Connection) -> None:
    """Have `tcp` read what has come before it takes a reset, or a failed write, for its end.

    Twisted closes the socket before it tells the protocol; Linux keeps what came before a reset.
    """

    def read_and_lose(reason: Failure) -> None:
        vars(tcp).pop("connectionLost", None)
        if tcp.connected and reason.check(ConnectionLost):
            with suppress(OSError):
                if data := tcp.getHandle().recv(_LAST_WORDS):
                    tcp.protocol.dataReceived(data)
        tcp.unregisterProducer()  # or it would be closed with what it has still to send
        tcp.connectionLost(reason)

    tcp.connectionLost = read_and_lose  # type: ignore[method-assign]
