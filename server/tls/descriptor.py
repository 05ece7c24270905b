"""A connected TCP socket as the reactor and applications see it, whatever is spoken over it."""

from __future__ import annotations

from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_NODELAY, socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IProtocol, ISystemHandle
from zope.interface import implementer

from homing.server.tls.sockets import Address, end, own_address, reset


@implementer(ISystemHandle)
class SocketDescriptor(FileDescriptor):
    """A connection of the client `peer` to `host`, by default the socket's own address.

    Every change of what the reactor watches is a system call: it is made only when it is one.
    """

    def __init__(
        self,
        reactor: Any,
        connection: socket,
        protocol: IProtocol,
        peer: Address,
        host: Address | None = None,
    ) -> None:
        super().__init__(reactor)
        self.reactor: Any = reactor
        self.connected = 1
        self.socket = connection
        self.fileno = connection.fileno  # type: ignore[method-assign]
        self.protocol = protocol
        self.is_blocked = False
        """Whether the reactor tells when the socket has room again."""
        self._peer, self._host = peer, host
        self._is_watched = False
        """Whether the reactor tells of what comes in."""
        self._has_ended = False
        """Whether nothing more comes in."""
        self._log_prefix = self._getLogPrefix(protocol)

    def startReading(self) -> None:
        if not self._is_watched and not self._has_ended:
            self._is_watched = True
            super().startReading()

    def stopReading(self) -> None:
        if self._is_watched:
            self._is_watched = False
            super().stopReading()

    def read_no_more(self) -> None:
        """Stop reading for good."""
        self._has_ended = True
        self.stopReading()

    def wait_for_room(self) -> None:
        """Have the reactor call `doWrite` when the socket has room."""
        if not self.is_blocked:
            self.is_blocked = True
            super().startWriting()

    def stopWriting(self) -> None:
        if self.is_blocked:
            self.is_blocked = False
            super().stopWriting()

    def close(self, *, abruptly: bool) -> None:
        """Close the socket; abruptly, what the client has not read yet is dropped."""
        self.read_no_more()
        self.stopWriting()
        (reset if abruptly else end)(self.socket)

    def getHandle(self) -> Any:
        return self.socket

    def getPeer(self) -> Address:
        return self._peer

    def getHost(self) -> Address:
        if self._host is None:
            self._host = own_address(self.socket)
        return self._host

    def getTcpNoDelay(self) -> bool:
        return bool(self.socket.getsockopt(IPPROTO_TCP, TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self.socket.getsockopt(SOL_SOCKET, SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.socket.setsockopt(SOL_SOCKET, SO_KEEPALIVE, enabled)

    def logPrefix(self) -> str:
        return self._log_prefix
