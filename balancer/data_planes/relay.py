"""Relay: two TCP connections, and bytes moved between them: the patent's splicing mode (p. 5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import Balancing, pauses
from homing.balancer.data_planes.pipes import Pipe, join, limit_stalls
from homing.balancer.data_planes.probe_state import TRANSITIONS, UP, ProbeEvent, ServerHealth
from homing.balancer.data_planes.reaching import endpoint, is_name, making, within
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES, TO_CONNECT, DescriptorReserve
from homing.balancer.routing import Reason
from homing.shared.deadlines import STALL_TIMEOUT
from homing.shared.proxy_protocol import header
from homing.shared.rarely import Rarely
from homing.shared.server_hello import GivenOutReader

LOOK_UP_EVERY = 60.0
"""Seconds after which the name of a relayed server that is up is looked up again."""


@attrs.frozen(kw_only=True)
class ProbeOptions:
    """How to probe a server, and as whom it must show itself."""

    tls_name: str
    """The host name, or IP address, that its certificate must hold for."""
    ca: Path | None = None
    """PEM: who must have signed it; None: whom the system trusts."""
    strict: bool = False
    """Whether it gets no connections while its certificate is another one."""
    every: float = 10.0
    """Seconds between two probes; after one that failed, a tenth."""
    within: float = 5.0
    """Seconds for a handshake."""


class RelayReactor(IReactorTCP, IReactorTime, IReactorSocket, IReactorPluggableNameResolver):
    """What relaying needs of the reactor."""


@attrs.frozen(kw_only=True)
class RelayOptions:
    """How to reach a relayed server."""

    host: str
    port: int
    learn_ids: bool
    """Whether to remember the session IDs that it gives out."""
    proxy_protocol: bool
    """Whether it is told its client's address, by PROXY protocol v2."""
    connect_timeout: float
    idle_timeout: float
    """Seconds without a byte either way after which a connection is closed."""
    probe: ProbeOptions | None = None
    """How to probe it as a TLS client; None: only whether it can be reached."""
    stall_timeout: float = STALL_TIMEOUT
    """Seconds after which a client, or a server whose client has gone, that takes nothing of what
    is sent is taken for dead.  Another server may hold its client back for as long as it likes:
    only `idle_timeout` ends that."""


class Relay:
    """Data plane to a server on any machine, over TCP."""

    _log = Logger()

    def __init__(
        self,
        reactor: RelayReactor,
        name: str,
        options: RelayOptions,
        balancing: Balancing,
        reserve: DescriptorReserve,
    ) -> None:
        self.name = name
        self.up = False
        strict = options.probe is not None and options.probe.strict
        self.health = ServerHealth.SHUT_OUT if strict else ServerHealth.DOWN
        self.pipes: set[Pipe] = set()
        self._reactor = reactor
        self._options = options
        self._balancing = balancing
        self._reserve = reserve
        self._found = options.host
        """The address at which the last probe reached it: connections ask no resolver."""
        self._why = ""
        self._failed = Rarely(self._say_failed)
        self._attempts = 0
        self._probe: IDelayedCall | None = None
        self._stopping = False
        self._endings: list[Deferred[None]] = []
        """They fire when all connections have ended."""

    @property
    def active(self) -> int:
        return (len(self.pipes) + 1) // 2

    def start(self) -> None:
        self._try_to_reach()

    def take(self, client: ClientConnection) -> bool:
        if not self._reserve.has(TO_CONNECT):
            return False
        self._reserve.spend()
        self._reach(client, self._found)
        return True

    def _reach(self, client: ClientConnection, host: str) -> None:
        overhear = self._learner() if self._options.learn_ids else None
        connecting = self._connect(host, self._pipe(overhear))
        connecting.addCallbacks(
            self._reached, self._unreached, callbackArgs=(client,), errbackArgs=(client, host)
        )
        connecting.addErrback(
            lambda failure: self._log.failure("relaying to {name}", failure, name=self.name)
        )

    def connect(self, protocol: Protocol) -> Deferred[IProtocol]:
        """Connect `protocol` to the server, as for a client; fails as Twisted's endpoints do."""
        return self._connect(self._found, protocol)

    def _connect(self, host: str, protocol: Protocol) -> Deferred[IProtocol]:
        there = endpoint(self._reactor, host, self._options.port)
        attempt = there.connect(making(protocol))
        return within(self._reactor, self._options.connect_timeout, attempt)

    def _pipe(self, overhear: Callable[[bytes], None] | None = None) -> Pipe:
        options = self._options
        return Pipe(options.idle_timeout, options.stall_timeout, self._ended, overhear)

    def _learner(self) -> Callable[[bytes], None]:
        """Learns the session ID that the server gives out on one connection."""
        reader = GivenOutReader()

        def overhear(data: bytes) -> None:
            if not reader.done and (session_id := reader.feed(data)) is not None:
                self._balancing.learn(self.name, session_id)

        return overhear

    def _reached(self, server: Protocol, client: ClientConnection) -> None:
        """Let the bytes flow: the hello, unread until now, is the first of them."""
        pipe = cast(Pipe, server)
        to_client = self._pipe()
        try:
            names = client.socket.getpeername()[:2], client.socket.getsockname()[:2]
            client.socket.setblocking(False)
            limit_stalls(client.socket, self._options.stall_timeout)
            self._reserve.spend()
            self._reactor.adoptStreamConnection(
                client.socket.fileno(),
                client.socket.family,
                making(to_client),  # type: ignore[arg-type]
            )
        except OSError as error:
            pipe.tcp.abortConnection()
            if error.errno in OUT_OF_RESOURCES:
                self._balancing.give_back(client, self.name, Reason.OWNER_BUSY)
                return
            self._log.debug("{source} left: {error}", source=client.source, error=error)
            client.release()  # the client has gone meanwhile
            return
        client.release()
        if self._options.proxy_protocol:
            pipe.tcp.write(header(*names))
        self.pipes |= {to_client, pipe}
        join(to_client, pipe)

    def _unreached(self, failure: Failure, client: ClientConnection, host: str) -> None:
        self._why = failure.getErrorMessage()
        if getattr(failure.value, "osError", None) in OUT_OF_RESOURCES:
            self._failed.happened()
            self._balancing.give_back(client, self.name, Reason.OWNER_BUSY)
            return
        if host != self._options.host:  # its name may have other addresses
            if self._found == host:
                self._found = self._options.host
                self._try_later(0)
            self._reach(client, self._options.host)
            return
        self._failed.happened()
        if self.up:
            self.happens(ProbeEvent.UNREACHED)
            self._try_later(pauses(0))
        self._balancing.give_back(client, self.name, Reason.OWNER_DOWN)

    def _say_failed(self, count: int) -> None:
        self._log.warn(
            "{name} cannot be reached: {error}; connections that go elsewhere: {count}",
            name=self.name,
            error=self._why,
            count=count,
        )

    def _try_to_reach(self) -> None:
        """Probe the server: whether it is there, and at which address; until it is there."""
        self._probe = None
        probing = self._connect(self._options.host, Protocol())
        probing.addCallbacks(self._is_there, self._is_not_there)

    def _is_there(self, probe: Protocol) -> None:
        transport = cast(ITCPTransport, probe.transport)
        if is_name(self._options.host):
            self._found = transport.getPeer().host
            self._try_later(LOOK_UP_EVERY)
        transport.loseConnection()
        self._attempts = 0
        self.happens(ProbeEvent.REACHED)

    def _is_not_there(self, failure: Failure) -> None:
        """A server that is up stays up until a connection fails: the resolver may be at fault."""
        self._try_later(pauses(self._attempts))
        self._attempts += 1

    def _try_later(self, seconds: float) -> None:
        self._cancel_probe()
        if not self._stopping:
            self._probe = self._reactor.callLater(seconds, self._try_to_reach)

    def _cancel_probe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def happens(self, event: ProbeEvent) -> None:
        """Go to the state of health that follows, and tell the balancer if that makes a change."""
        if self._stopping:
            return
        if event is ProbeEvent.FAILED and self.up and is_name(self._options.host):
            self._try_later(0)  # it may have another address now
        self.health = TRANSITIONS[self.health][event]
        up = self.health in UP
        if up != self.up:
            self.up = up
            self._balancing.changed()

    def _ended(self, pipe: Pipe) -> None:
        self.pipes.discard(pipe)
        if not self.pipes:
            endings, self._endings = self._endings, []
            for all_ended in endings:
                all_ended.callback(None)

    def stop(self, grace: float | None) -> Deferred[None]:
        self._stopping, self.up = True, False
        self._cancel_probe()
        if not self.pipes:
            return succeed(None)
        all_ended: Deferred[None] = Deferred()
        self._endings.append(all_ended)
        if grace is not None:
            all_ended.addTimeout(grace, self._reactor, onTimeoutCancel=self._abort_all)
        return all_ended

    def _abort_all(self, *_: object) -> None:
        for pipe in list(self.pipes):
            pipe.tcp.abortConnection()
