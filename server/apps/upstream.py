"""An application that is a TCP server of its own, the upstream: the decrypted bytes go there.

It differs from `twisted.protocols.portforward`: the upstream is connected to after the handshake,
and can be told the client's address.  If it is down, that is logged, and its clients end cleanly.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.shared.addresses import ip_address
from homing.shared.proxy_protocol import header, local_header
from homing.shared.rarely import Rarely

CONNECT_TIMEOUT = 5.0
"""Seconds within which an upstream must be reached."""


class UpstreamFactory(Factory):
    """Forwards every connection to `host` and `port`, behind a PROXY header if `tell_clients`."""

    noisy = False
    _log = Logger()

    def __init__(self, host: str, port: int, tell_clients: bool) -> None:
        self.tell_clients = tell_clients
        self._host, self._port = host, port
        self._why = ""
        self._unreached = Rarely(partial(self._say, "cannot be reached: {why}; connections closed"))
        self._broken = Rarely(partial(self._say, "broke off: {why}; connections aborted"))

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Client(self)

    def connect(self, client: _Client) -> Deferred[Protocol]:
        """Connect to the upstream for `client`."""
        from twisted.internet import reactor  # late: an import installs one

        clock: Any = reactor
        kind: Any = HostnameEndpoint  # resolves even an IP address in a thread
        try:
            version = ip_address(self._host).version
            kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        except ValueError:
            pass
        endpoint = kind(clock, self._host, self._port, timeout=CONNECT_TIMEOUT)
        factory = Factory.forProtocol(lambda: _Upstream(client))
        factory.noisy = False
        connecting: Deferred[Protocol] = endpoint.connect(factory)
        return connecting

    def unreached(self, failure: Failure) -> None:
        """Log, rarely, that a client was closed."""
        self._why = failure.getErrorMessage().rstrip(".")
        self._unreached.happened()

    def broke_off(self, failure: Failure) -> None:
        """Log, rarely, that a client was aborted."""
        self._why = failure.getErrorMessage().rstrip(".")
        self._broken.happened()

    def _say(self, what: str, count: int) -> None:
        self._log.error(
            "the upstream tcp:{host}:{port} " + what + ": {count}",
            host=self._host,
            port=self._port,
            why=self._why,
            count=count,
        )


@implementer(IPushProducer)
class _End(Protocol):
    """One of the two connections; what it reads, the other writes."""

    other: _End | None = None

    @property
    def tcp(self) -> Any:
        return cast(ITCPTransport, self.transport)

    def pauseProducing(self) -> None:
        """The other end's buffer is full."""
        self.tcp.pauseProducing()

    def resumeProducing(self) -> None:
        """The other end's buffer has room."""
        self.tcp.resumeProducing()

    def stopProducing(self) -> None:
        """The other end is over; its connectionLost ends this one."""

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None:
            self.other.tcp.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.end()

    def end(self) -> None:
        """Send what is buffered, and close."""
        self.tcp.unregisterProducer()  # with one, TLS sends no close_notify
        self.tcp.resumeProducing()
        self.tcp.loseConnection()


@implementer(IHalfCloseableProtocol)
class _Upstream(_End):
    """The connection to the upstream."""

    _has_ended = False

    def __init__(self, client: _Client) -> None:
        self._client = client

    def connectionMade(self) -> None:
        self._client.join(self)

    def readConnectionLost(self) -> None:
        """It has sent everything: close the client's side, which may finish its upload."""
        self._has_ended = True
        if self.other is not None:
            self.other.end()
        else:
            self.tcp.loseConnection()

    def writeConnectionLost(self) -> None:
        """The connection's end follows."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.other is not None and not self._has_ended and not reason.check(ConnectionDone):
            self._client.cut_off(reason)
        super().connectionLost(reason)


@implementer(IHandshakeListener)
class _Client(_End):
    """The connection of the client, decrypted."""

    def __init__(self, factory: UpstreamFactory) -> None:
        self._factory = factory
        self._connecting: Deferred[Any] | None = None
        self._early: list[bytes] = []

    def handshakeCompleted(self) -> None:
        """Connect to the upstream; read nothing until it is connected."""
        self.pauseProducing()
        self._connecting = self._factory.connect(self)
        self._connecting.addErrback(self._unreached)

    def dataReceived(self, data: bytes) -> None:
        if self._connecting is not None:
            self._early.append(data)  # it came together with the end of the handshake
        super().dataReceived(data)

    def join(self, upstream: _Upstream) -> None:
        """Forward both ways, each no faster than the other end reads."""
        self._connecting = None
        self.other, upstream.other = upstream, self
        if self._factory.tell_clients:
            upstream.tcp.write(self._header())
        upstream.tcp.writeSequence(self._early)
        self._early = []
        upstream.tcp.registerProducer(self, True)
        self.tcp.registerProducer(upstream, True)
        self.resumeProducing()

    def cut_off(self, reason: Failure) -> None:
        """Abort: without close_notify the client can tell that the answer is not whole."""
        self._factory.broke_off(reason)
        self.tcp.abortConnection()

    def _header(self) -> bytes:
        client, here = self.tcp.getPeer(), self.tcp.getHost()
        try:
            return header((client.host, client.port), (here.host, here.port))
        except (AttributeError, ValueError):  # neither IPv4 nor IPv6, or some of both
            return local_header()

    def _unreached(self, failure: Failure) -> None:
        self._connecting = None
        self._early = []
        if not failure.check(CancelledError):
            self._factory.unreached(failure)
            self.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        super().connectionLost(reason)
