"""Relay: two TCP connections, and bytes moved between them: the patent's splicing mode (p. 5)."""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT, socket
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
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
from shared.deadlines import STALL_TIMEOUT
from shared.proxy_protocol import header
from shared.server_hello import GivenOutReader

_LAST_WORDS = 1 << 18
"""Bytes that are still read from a connection that is lost."""


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
    stall_timeout: float = STALL_TIMEOUT
    """Seconds after which a client, or a server whose client has gone, that takes nothing of what
    is sent is taken for dead.  Another server may hold its client back for as long as it likes:
    only `idle_timeout` ends that."""


class Relay:
    """Data plane to a server anywhere, over TCP."""

    _log = Logger()

    def __init__(
        self, reactor: Reactor, name: str, options: RelayOptions, balancing: Balancing
    ) -> None:
        self.name = name
        self.up = False
        self.pipes: set[Pipe] = set()
        self._reactor = reactor
        self._options = options
        self._balancing = balancing
        self._endpoint = HostnameEndpoint(
            reactor, options.host, options.port, timeout=options.connect_timeout
        )
        self._attempts = 0
        self._probe: IDelayedCall | None = None
        self._stopping = False
        self._idle: list[Deferred[None]] = []

    @property
    def active(self) -> int:
        return (len(self.pipes) + 1) // 2

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
            learn = partial(self._balancing.learn, self.name)
            return LearningPipe(self._options, self._ended, learn)
        return Pipe(self._options, self._ended)

    def _reached(self, server: Protocol, arrival: Arrival) -> None:
        """Let the bytes flow: the hello, unread until now, is the first of them."""
        pipe = cast(Pipe, server)
        try:
            if self._options.proxy_protocol:
                names = arrival.socket.getpeername()[:2], arrival.socket.getsockname()[:2]
                pipe.tcp.write(header(*names))
            arrival.socket.setblocking(False)
            limit_stalls(arrival.socket, self._options.stall_timeout)
            client = Pipe(self._options, self._ended)
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
        self.pipes |= {client, pipe}
        join(client, pipe)

    def _unreached(self, failure: Failure, arrival: Arrival) -> None:
        self._log.warn(
            "{name} cannot be reached: {error}", name=self.name, error=failure.getErrorMessage()
        )
        error = getattr(failure.value, "osError", None)
        if self.up and error not in OUT_OF_RESOURCES:
            self._set_up(False)
            self._try_later()
        arrival.tried.add(self.name)
        self._balancing.give_back(arrival)

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

    def _ended(self, pipe: Pipe) -> None:
        self.pipes.discard(pipe)
        if not self.pipes:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)

    def stop(self, grace: float) -> Deferred[None]:
        self._stopping, self.up = True, False
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        done: Deferred[None] = Deferred()
        if not self.pipes:
            done.callback(None)
            return done
        self._idle.append(done)
        return done.addTimeout(grace, self._reactor, onTimeoutCancel=self._abort_all)

    def _abort_all(self, *_: object) -> None:
        for pipe in list(self.pipes):
            pipe.tcp.abortConnection()


@implementer(IHalfCloseableProtocol)
class Pipe(Protocol, TimeoutMixin):
    """One of the two connections of a pair; what it reads, the other writes."""

    def __init__(self, options: RelayOptions, ended: Callable[[Pipe], None]) -> None:
        self._options = options
        self._ended = ended
        self.peer: Pipe | None = None
        self._sent_everything = False
        self._is_last = False
        """Whether the other connection is over, and only its last words are left."""
        self._handed_down = False
        """Whether the kernel has all that this side is to get."""

    @property
    def tcp(self) -> Connection:
        """The transport."""
        return cast(Connection, self.transport)

    def connectionMade(self) -> None:
        self.tcp.setTcpNoDelay(True)
        self.tcp.setTcpKeepAlive(True)
        self.setTimeout(self._options.idle_timeout)
        read_before_losing(self.tcp)
        if self.peer is None:
            self.tcp.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        peer = self.peer
        if peer is not None:
            peer.tcp.write(data)
            self.resetTimeout()
            peer.resetTimeout()
        elif self._is_last and not self._has_unsent():
            self.tcp.abortConnection()  # nobody is left to hear it

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
        """The other side was reset: send what had come from it, then end.

        A plain close becomes a reset where something unread has come, and a reset drops what is
        on its way: so only our half is closed at first.
        """
        self._is_last = True
        limit_stalls(self.tcp.getHandle(), self._options.stall_timeout)
        self.setTimeout(self._options.stall_timeout)
        self.tcp.loseWriteConnection()
        self.tcp.resumeProducing()

    def timeoutConnection(self) -> None:
        if self._is_last and self._has_unsent():
            self.setTimeout(self._options.stall_timeout)  # it reads, or the kernel ends it
        else:
            self.tcp.abortConnection()


class LearningPipe(Pipe):
    """The connection to a server whose session IDs are learned from what it sends."""

    def __init__(
        self,
        options: RelayOptions,
        ended: Callable[[Pipe], None],
        learn: Callable[[bytes], None],
    ) -> None:
        super().__init__(options, ended)
        self._learn = learn
        self._reader = GivenOutReader()

    def dataReceived(self, data: bytes) -> None:
        if not self._reader.done:
            session_id = self._reader.feed(data)
            if session_id is not None:
                self._learn(session_id)
        super().dataReceived(data)


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


class _OneProtocol(Factory):
    """A factory for one connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol
