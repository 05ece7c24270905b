"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.protocols import portforward

from tests.reactor import HOST, call, reactor

OTHER = "127.0.0.1"
"""Where proxies listen: another address than what is behind them."""


class _ToTarget(portforward.ProxyClient):
    transport: Any
    peer: Any
    factory: Any

    def dataReceived(self, data: bytes) -> None:
        proxy: TcpProxy = self.peer.factory.proxy
        proxy.answered(self, data)


class _ToTargetFactory(portforward.ProxyClientFactory):
    protocol = _ToTarget
    noisy = False


class _FromClient(portforward.ProxyServer):
    clientProtocolFactory = _ToTargetFactory
    asked = b""
    transport: Any
    peer: Any
    factory: Any

    def connectionMade(self) -> None:
        proxy: TcpProxy = self.factory.proxy
        proxy.connections.append(self)
        if proxy.refuses:
            self.transport.abortConnection()
        else:
            super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        proxy: TcpProxy = self.factory.proxy
        self.asked = data[:64]
        if self not in proxy.silent:
            super().dataReceived(data)
        if proxy.repeats:
            proxy.repeat(data)


class _Repeat(Protocol):
    """A request said once more on a connection of its own."""

    transport: Any

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connectionMade(self) -> None:
        self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


class _Factory(portforward.ProxyFactory):
    protocol = _FromClient
    noisy = False
    proxy: TcpProxy


class TcpProxy:
    """Connections to a port at HOST; what is set holds for all that is said from then."""

    def __init__(self, port: int) -> None:
        self.refuses = False
        self.repeats = False
        """What is asked is asked a second time, as a proxy does that got no answer."""
        self.delay = 0.0
        """Seconds by which answers are late."""
        self.cut_after: int | None = None
        """How many more bytes of answers come through; then all is cut."""
        self.silent: set[Protocol] = set()
        """Connections that let nothing through and stay open."""
        self.is_silent = False
        """All are."""
        self.connections: list[_FromClient] = []
        self._target = port
        self._factory = _Factory(HOST, port)
        self._factory.proxy = self

    def start(self) -> None:
        self._port: Any = call(lambda: reactor().listenTCP(0, self._factory, interface=OTHER))

    def stop(self) -> None:
        call(self._port.stopListening)
        self.cut()

    @property
    def address(self) -> str:
        return f"{OTHER}:{self._port.getHost().port}"

    def cut(self) -> None:
        """Reset all connections."""
        call(self._cut)

    def silence(self, what: bytes) -> None:
        """Let nothing more through of those open now on which `what` was asked; others work."""
        self.silent |= {one for one in self.connections if what in one.asked}

    def repeat(self, data: bytes) -> None:
        target = TCP4ClientEndpoint(reactor(), HOST, self._target)
        connectProtocol(target, _Repeat(data))

    def answered(self, client: _ToTarget, data: bytes) -> None:
        """Bytes of an answer came."""
        if self.is_silent or client.peer in self.silent:
            return
        if self.cut_after is not None:
            data = data[: self.cut_after]
            self.cut_after -= len(data)
        if self.delay:
            reactor().callLater(self.delay, client.peer.transport.write, data)
        else:
            client.peer.transport.write(data)
        if self.cut_after == 0:
            reactor().callLater(0, self._cut)

    def _cut(self) -> None:
        for one in self.connections:
            # What was let through is sent first
            one.transport.loseConnection()
            if one.peer is not None:
                one.peer.transport.abortConnection()
        self.connections.clear()
        self.silent.clear()


@contextmanager
def tcp_proxy(port: int) -> Iterator[TcpProxy]:
    """A proxy until the block ends."""
    proxy = TcpProxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
