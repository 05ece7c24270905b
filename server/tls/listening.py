"""A TCP port whose connections are taken as bare sockets, not as Twisted's transports."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any

from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port

_BACKLOG = 4096
"""Connections that the kernel queues while this process stands still."""

Take = Callable[[socket, Any], object]
"""Gets a connected socket and its client's address."""


def listen(reactor: Any, host: str, port: int, arrivals: Arrivals) -> IListeningPort:
    """Accept connections at an address.  Raises CannotListenError."""
    listening = _SocketPort(port, arrivals, _BACKLOG, host, reactor)
    listening.startListening()
    made: IListeningPort = listening
    return made


class Arrivals(Factory):
    """Gives accepted sockets to `take`; starts and stops `application` with the port."""

    noisy = False

    def __init__(self, application: IProtocolFactory, take: Take) -> None:
        self._application = application
        self.take = take

    def doStart(self) -> None:
        self._application.doStart()

    def doStop(self) -> None:
        self._application.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        assert addr is not None
        return _Arrival(self.take, addr)


class _Arrival(Protocol):
    def __init__(self, take: Take, peer: IAddress) -> None:
        self._take, self._peer = take, peer

    def makeConnection(self, transport: Any) -> None:
        self._take(transport, self._peer)


class _SocketPort(Port):
    """It accepts in batches, and copes with few descriptors, as every port of Twisted's."""

    @staticmethod
    def transport(connection: socket, *more: object) -> socket:  # type: ignore[override]
        """What `makeConnection` gets."""
        return connection
