"""Relay: two TCP connections, and bytes moved between them: the patent's splicing mode (p. 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from socket import socket

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IProtocol,
    IReactorPluggableNameResolver,
    IReactorTCP,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import Balancing, pauses
from homing.balancer.data_planes.connecting import Connecting, Failed
from homing.balancer.data_planes.finding import Finding
from homing.balancer.data_planes.overdue import Overdue
from homing.balancer.data_planes.probe_state import TRANSITIONS, UP, ProbeEvent, ServerHealth
from homing.balancer.data_planes.readiness import ReadinessReactor
from homing.balancer.data_planes.relayed import Relayed
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES, TO_CONNECT
from homing.balancer.routing import Reason
from homing.shared.deadlines import STALL_TIMEOUT
from homing.shared.proxy_protocol import header
from homing.shared.rarely import Rarely
from homing.shared.server_hello import GivenOutReader


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


class RelayReactor(ReadinessReactor, IReactorTCP, IReactorPluggableNameResolver):
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
        self._finding = Finding(
            reactor,
            options.host,
            options.port,
            options.connect_timeout,
            lambda: self.happens(ProbeEvent.REACHED),
        )
        self._why = ""
        self._failed = Rarely(self._say_failed)
        self._stopping = False
        self._endings: list[Deferred[None]] = []
        """They fire when all connections have ended."""

    @property
    def active(self) -> int:
        return len(self.relayed) + len(self._connecting)

    def start(self) -> None:
        self._finding.start()

    def take(self, client: ClientConnection) -> bool:
        if not self._traffic.reserve.has(TO_CONNECT):
            return False
        self._reach(client, self._look_up_again if self._finding.is_name else self._give_up)
        return True

    def _reach(self, client: ClientConnection, failed: Failed) -> None:
        to = self._finding.address
        if to is None:
            self._finding.look_up_again(partial(self._looked_up, client))
            return
        try:
            self._connecting.connect(client, to, self._reached, failed)
        except OSError as error:
            self._reactor.callLater(0, failed, client, error)

    def connect(self, protocol: Protocol) -> Deferred[IProtocol]:
        """Connect `protocol` to the server, to probe it; fails as Twisted's endpoints do."""
        return self._finding.connect(protocol)

    def _learner(self) -> Callable[[bytes], bool]:
        """Learns the session ID that the server gives out on one connection."""
        reader = GivenOutReader()

        def overhear(data: bytes) -> bool:
            if (session_id := reader.feed(data)) is not None:
                self._balancing.learn(self.name, session_id)
            return not reader.done

        return overhear

    def _reached(self, client: ClientConnection, server: socket, is_watched: bool) -> None:
        """Relay, from the hello on, which is unread until now."""
        relayed = Relayed(
            client.socket,
            server,
            self._traffic,
            self._idle,
            self._left,
            self._options.stall_timeout,
            self._ended,
            bool(client.excluded.servers),
            self._learner() if self._options.learn_ids else None,
        )
        self.relayed.add(relayed)
        try:
            relayed.start(self._told(client.socket), is_watched)
        except OSError as error:
            self._log.debug("{source} left: {error}", source=client.source, error=error)
            relayed.abort()
        except Exception:
            self._log.failure("relaying to {name}", name=self.name)
            relayed.abort()

    def _told(self, client: socket) -> bytes:
        """What the server is told of the client first.  Raises OSError when that has gone."""
        if not self._options.proxy_protocol:
            return b""
        return header(client.getpeername()[:2], client.getsockname()[:2])

    def _look_up_again(self, client: ClientConnection, error: OSError) -> None:
        """Before a client is given up: the server's name may have other addresses."""
        if error.errno in OUT_OF_RESOURCES:
            self._give_up(client, error)
        else:
            self._finding.look_up_again(partial(self._looked_up, client))

    def _looked_up(self, client: ClientConnection, error: OSError | None) -> None:
        if error is None:
            self._reach(client, self._give_up)
        else:
            self._give_up(client, error)

    def _give_up(self, client: ClientConnection, error: OSError) -> None:
        self._why = error.strerror or str(error)
        self._failed.happened()
        if error.errno in OUT_OF_RESOURCES:
            self._balancing.give_back(client, self.name, Reason.OWNER_BUSY)
            return
        if self.up:
            self.happens(ProbeEvent.UNREACHED)
            self._finding.start_later(pauses(0))
        self._balancing.give_back(client, self.name, Reason.OWNER_DOWN)

    def _say_failed(self, count: int) -> None:
        self._log.warn(
            "{name} cannot be reached: {error}; connections that go elsewhere: {count}",
            name=self.name,
            error=self._why,
            count=count,
        )

    def happens(self, event: ProbeEvent) -> None:
        """Go to the state of health that follows, and tell the balancer if that makes a change."""
        if self._stopping:
            return
        if event is ProbeEvent.FAILED and self.up and self._finding.is_name:
            self._finding.start_later(0)  # it may have another address now
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
        self._idle.stop()
        self._left.stop()

    def stop(self, grace: float | None) -> Deferred[None]:
        self._stopping, self.up = True, False
        self._finding.stop()
        self._connecting.stop()
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
