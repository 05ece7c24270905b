"""Relay: two TCP connections, and bytes moved between them: the patent's splicing mode (p. 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.arrival import Arrival
from balancer.data_plane import Balancing, pauses
from balancer.ingress import OUT_OF_RESOURCES
from shared.proxy_protocol import header
from shared.rarely import Rarely
from shared.server_hello import ServerHelloReader


class Reactor(IReactorTCP, IReactorTime, IReactorSocket, IReactorPluggableNameResolver):
    """What relaying needs of the reactor."""


@attrs.frozen
class RelayOptions:
    """How to reach a relayed server."""

    host: str
    port: int
    learn_ids: bool = False
    """Whether to remember the session IDs that it gives out."""
    proxy_protocol: bool = False
    """Whether it is told its client's address, by PROXY protocol v2."""
    connect_timeout: float = 3.0
    idle_timeout: float = 3600.0
    """Seconds without a byte either way after which a connection is closed."""


class Relay:
    """Data plane to a server anywhere, over TCP."""

    _log = Logger()

    def __init__(
        self, reactor: Reactor, name: str, options: RelayOptions, balancing: Balancing
    ) -> None:
        self.name = name
        self.up = False
        self.pairs: set[Pipe] = set()
        self._reactor = reactor
        self._options = options
        self._balancing = balancing
        self._endpoint = HostnameEndpoint(
            reactor, options.host, options.port, timeout=options.connect_timeout
        )
        self._why = ""
        self._failed = Rarely(self._say_failed)
        self._attempts = 0
        self._probe: IDelayedCall | None = None
        self._stopping = False
        self._idle: list[Deferred[None]] = []

    @property
    def active(self) -> int:
        return len(self.pairs)

    def start(self) -> None:
        self._try_to_reach()

    def take(self, arrival: Arrival) -> None:
        connecting = self._endpoint.connect(_OneProtocol(self._server_pipe()))
        connecting.addCallbacks(
            self._reached, self._unreached, callbackArgs=(arrival,), errbackArgs=(arrival,)
        )
        connecting.addErrback(
            lambda failure: self._log.failure("relaying to {name}", failure, name=self.name)
        )

    def _server_pipe(self) -> Pipe:
        if self._options.learn_ids:
            return LearningPipe(
                self._options.idle_timeout, partial(self._balancing.learn, self.name)
            )
        return Pipe(self._options.idle_timeout)

    def _reached(self, server: Protocol, arrival: Arrival) -> None:
        """Let the bytes flow: the hello, unread until now, is the first of them."""
        pipe = cast(Pipe, server)
        try:
            if self._options.proxy_protocol:
                names = arrival.socket.getpeername()[:2], arrival.socket.getsockname()[:2]
                pipe.tcp.write(header(*names))
            arrival.socket.setblocking(False)
            client = Pipe(self._options.idle_timeout, self._ended)
            self._reactor.adoptStreamConnection(
                arrival.socket.fileno(),
                arrival.socket.family,
                _OneProtocol(client),  # type: ignore[arg-type]
            )
        except OSError as error:  # the client has gone meanwhile
            self._log.debug("{source} left: {error}", source=arrival.source, error=error)
            pipe.tcp.abortConnection()
            return
        finally:
            arrival.release()
        self.pairs.add(client)
        join(client, pipe)

    def _unreached(self, failure: Failure, arrival: Arrival) -> None:
        self._why = failure.getErrorMessage()
        self._failed.happened()
        error = getattr(failure.value, "osError", None)
        if self.up and error not in OUT_OF_RESOURCES:
            self._set_up(False)
            self._try_later()
        arrival.tried.add(self.name)
        self._balancing.give_back(arrival)

    def _say_failed(self, count: int) -> None:
        self._log.warn(
            "{name} cannot be reached: {error}; connections that go elsewhere: {count}",
            name=self.name,
            error=self._why,
            count=count,
        )

    def _try_to_reach(self) -> None:
        """Connect, to see whether the server is there; again and again until it is."""
        self._probe = None
        self._endpoint.connect(_OneProtocol(Protocol())).addCallbacks(
            self._is_there, lambda failure: self._try_later()
        )

    def _is_there(self, probe: Protocol) -> None:
        probe.transport.loseConnection()  # type: ignore[union-attr]
        self._attempts = 0
        self._set_up(True)

    def _try_later(self) -> None:
        if not self._stopping and self._probe is None:
            self._probe = self._reactor.callLater(pauses(self._attempts), self._try_to_reach)
            self._attempts += 1

    def _set_up(self, up: bool) -> None:
        if up != self.up and not self._stopping:
            self.up = up
            self._log.info("{name} is {state}", name=self.name, state="up" if up else "down")
            self._balancing.changed()

    def _ended(self, client: Pipe) -> None:
        self.pairs.discard(client)
        if not self.pairs:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)

    def stop(self, grace: float) -> Deferred[None]:
        self._stopping, self.up = True, False
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        done: Deferred[None] = Deferred()
        if not self.pairs:
            done.callback(None)
            return done
        self._idle.append(done)
        return done.addTimeout(grace, self._reactor, onTimeoutCancel=self._abort_all)

    def _abort_all(self, *_: object) -> None:
        for client in list(self.pairs):
            client.tcp.abortConnection()


@implementer(IHalfCloseableProtocol)
class Pipe(Protocol, TimeoutMixin):
    """One of the two connections of a pair; what it reads, the other writes."""

    def __init__(
        self, idle_timeout: float, ended: Callable[[Pipe], None] = lambda pipe: None
    ) -> None:
        self._idle_timeout = idle_timeout
        self._ended = ended
        self.peer: Pipe | None = None
        self._sent_everything = False

    @property
    def tcp(self) -> Connection:
        """The transport."""
        return cast(Connection, self.transport)

    def connectionMade(self) -> None:
        self.tcp.setTcpNoDelay(True)
        self.tcp.setTcpKeepAlive(True)
        self.setTimeout(self._idle_timeout)
        if self.peer is None:
            self.tcp.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        peer = self.peer
        if peer is not None:
            peer.tcp.write(data)
            self.resetTimeout()
            peer.resetTimeout()

    def readConnectionLost(self) -> None:
        """This side has sent everything: say so to the other, which may go on sending."""
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

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            peer.tcp.unregisterProducer()
            if reason.check(ConnectionDone):
                peer.tcp.loseConnection()
            else:
                peer.tcp.abortConnection()
        self._ended(self)

    def timeoutConnection(self) -> None:
        self.tcp.abortConnection()


class LearningPipe(Pipe):
    """The connection to a server whose session IDs are learned from its ServerHellos."""

    def __init__(self, idle_timeout: float, learn: Callable[[bytes], None]) -> None:
        super().__init__(idle_timeout)
        self._learn = learn
        self._reader = ServerHelloReader()

    def dataReceived(self, data: bytes) -> None:
        if not self._reader.done:
            hello = self._reader.feed(data)
            if hello is not None and hello.session_id and not hello.is_tls13:
                self._learn(hello.session_id)
        super().dataReceived(data)


def join(one: Pipe, other: Pipe) -> None:
    """Let bytes flow between two connections, each no faster than the other takes them."""
    one.peer, other.peer = other, one
    one.tcp.registerProducer(other.tcp, True)
    other.tcp.registerProducer(one.tcp, True)
    one.tcp.resumeProducing()
    other.tcp.resumeProducing()


class _OneProtocol(Factory):
    """A factory for one connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol
