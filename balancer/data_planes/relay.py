"""Relay: two TCP connections, and bytes moved between them: the patent's splicing mode (p. 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_NODELAY, socket
from typing import cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import Balancing, pauses
from homing.balancer.data_planes.connecting import Address, Attempt, Connecting, address
from homing.balancer.data_planes.overdue import Overdue
from homing.balancer.data_planes.probe_state import TRANSITIONS, UP, ProbeEvent, ServerHealth
from homing.balancer.data_planes.reaching import endpoint, is_name, making, within
from homing.balancer.data_planes.relayed import Relayed, limit_stalls
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES, TO_CONNECT
from homing.balancer.routing import Reason
from homing.shared.addresses import plain
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


class RelayReactor(IReactorTCP, IReactorTime, IReactorFDSet, IReactorPluggableNameResolver):
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
        traffic: Traffic,
    ) -> None:
        self.name = name
        self.up = False
        strict = options.probe is not None and options.probe.strict
        self.health = ServerHealth.SHUT_OUT if strict else ServerHealth.DOWN
        self.relayed: set[Relayed] = set()
        self._reactor = reactor
        self._options = options
        self._balancing = balancing
        self._traffic = traffic
        self._connecting = Connecting(traffic, options.connect_timeout)
        self._idle = Overdue(reactor, options.idle_timeout, Relayed.stands_still)
        self._left = Overdue(reactor, options.stall_timeout, Relayed.stands_still)
        self._found = options.host
        """The address at which the last probe reached it: connections ask no resolver."""
        self._address: Address | None = None
        """The same, for the kernel; None while it has to be looked up."""
        self._stranded: list[ClientConnection] = []
        """They wait until it has been looked up."""
        self._why = ""
        self._failed = Rarely(self._say_failed)
        self._attempts = 0
        self._probe: IDelayedCall | None = None
        self._is_probing = False
        self._stopping = False
        self._endings: list[Deferred[None]] = []
        """They fire when all connections have ended."""
        if not is_name(options.host):
            self._find(options.host)

    @property
    def active(self) -> int:
        return len(self.relayed)

    def start(self) -> None:
        self._try_to_reach()

    def take(self, client: ClientConnection) -> bool:
        if not self._traffic.reserve.has(TO_CONNECT):
            return False
        self._reach(client, self._strand if is_name(self._options.host) else self._give_up)
        return True

    def _find(self, host: str) -> None:
        self._found = host
        self._address = address(plain(host), self._options.port)

    def _reach(
        self, client: ClientConnection, failed: Callable[[ClientConnection, OSError], None]
    ) -> None:
        if self._address is None:
            self._strand(client)
            return
        try:
            self._connecting.connect(
                self._address, partial(self._reached, client), partial(failed, client)
            )
        except OSError as error:
            self._reactor.callLater(0, failed, client, error)

    def connect(self, protocol: Protocol) -> Deferred[IProtocol]:
        """Connect `protocol` to the server, to probe it; fails as Twisted's endpoints do."""
        return self._connect(self._found, protocol)

    def _connect(self, host: str, protocol: Protocol) -> Deferred[IProtocol]:
        there = endpoint(self._reactor, host, self._options.port)
        attempt = there.connect(making(protocol))
        return within(self._reactor, self._options.connect_timeout, attempt)

    def _learner(self) -> Callable[[bytes], bool]:
        """Learns the session ID that the server gives out on one connection."""
        reader = GivenOutReader()

        def overhear(data: bytes) -> bool:
            if (session_id := reader.feed(data)) is not None:
                self._balancing.learn(self.name, session_id)
            return not reader.done

        return overhear

    def _reached(self, client: ClientConnection, attempt: Attempt) -> None:
        """Relay, from the hello on, which is unread until now."""
        try:
            client.socket.setblocking(False)
            limit_stalls(client.socket, self._options.stall_timeout)
            _keep_alive(attempt.socket)
            told = self._told(client.socket)
        except OSError as error:
            self._traffic.readiness.forget(attempt.socket.fileno())
            attempt.socket.close()
            client.release()
            self._log.debug("{source} left: {error}", source=client.source, error=error)
            return
        relayed = Relayed(
            client.socket,
            attempt.socket,
            self._traffic,
            self._idle,
            self._left,
            self._options.stall_timeout,
            self._ended,
            self._learner() if self._options.learn_ids else None,
        )
        self.relayed.add(relayed)
        try:
            relayed.start(told, attempt.is_watched)
        except Exception:
            relayed.abort()
            raise

    def _told(self, client: socket) -> bytes:
        """What the server is told of the client first.  Raises OSError when that has gone."""
        if not self._options.proxy_protocol:
            return b""
        return header(client.getpeername()[:2], client.getsockname()[:2])

    def _strand(self, client: ClientConnection, error: OSError | None = None) -> None:
        """Look the server's name up before its client is given up: it may have other addresses."""
        if error is not None and (self._stopping or error.errno in OUT_OF_RESOURCES):
            self._give_up(client, error)
            return
        self._found, self._address = self._options.host, None
        self._stranded.append(client)
        if not self._is_probing:
            self._try_later(0)

    def _give_up(self, client: ClientConnection, error: OSError) -> None:
        self._why = error.strerror or str(error)
        self._failed.happened()
        if error.errno in OUT_OF_RESOURCES:
            self._balancing.give_back(client, self.name, Reason.OWNER_BUSY)
            return
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
        self._probe, self._is_probing = None, True
        probing = self._connect(self._options.host, Protocol())
        probing.addCallbacks(self._is_there, self._is_not_there)

    def _is_there(self, probe: Protocol) -> None:
        self._is_probing = False
        transport = cast(ITCPTransport, probe.transport)
        if is_name(self._options.host):
            self._find(transport.getPeer().host)
            self._try_later(LOOK_UP_EVERY)
        transport.loseConnection()
        self._attempts = 0
        self.happens(ProbeEvent.REACHED)
        for client in self._no_longer_stranded():
            self._reach(client, self._give_up)

    def _is_not_there(self, failure: Failure) -> None:
        """A server that is up stays up until a connection fails: the resolver may be at fault."""
        self._is_probing = False
        self._try_later(pauses(self._attempts))
        self._attempts += 1
        error = getattr(failure.value, "osError", None)
        for client in self._no_longer_stranded():
            self._give_up(client, OSError(error, failure.getErrorMessage()))

    def _no_longer_stranded(self) -> list[ClientConnection]:
        clients, self._stranded = self._stranded, []
        return clients

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

    def _ended(self, relayed: Relayed) -> None:
        self.relayed.discard(relayed)
        if self._stopping and not self.relayed:
            self._leave_no_timer()
            endings, self._endings = self._endings, []
            for all_ended in endings:
                all_ended.callback(None)

    def _leave_no_timer(self) -> None:
        for timer in (self._connecting, self._idle, self._left):
            timer.stop()

    def stop(self, grace: float | None) -> Deferred[None]:
        self._stopping, self.up = True, False
        self._cancel_probe()
        if not self._is_probing:
            for client in self._no_longer_stranded():
                self._balancing.give_back(client, self.name, Reason.OWNER_DOWN)
        if not self.relayed:
            self._leave_no_timer()
            return succeed(None)
        all_ended: Deferred[None] = Deferred()
        self._endings.append(all_ended)
        if grace is not None:
            all_ended.addTimeout(grace, self._reactor, onTimeoutCancel=self._abort_all)
        return all_ended

    def _abort_all(self, *_: object) -> None:
        for relayed in list(self.relayed):
            relayed.abort()


def _keep_alive(server: socket) -> None:
    """As the client's socket is, by what `Ingress` set: nothing is held back, the dead are seen."""
    server.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    server.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
