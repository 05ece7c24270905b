"""Balancer 104 as a Twisted service: ingress, waiting room, Fig. 2, data planes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from socket import AF_INET, AF_INET6
from types import MappingProxyType

import attrs
from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from balancer import handoff, ingress, relay, waiting
from balancer.arrival import Arrival
from balancer.data_plane import Balancing, DataPlane
from balancer.dispatch import Dispatch
from balancer.handoff import HandOff
from balancer.ingress import Ingress
from balancer.learned import LearnedIds
from balancer.limits import ServerLimit, SourceLimit
from balancer.policies import policy
from balancer.relay import Relay, RelayOptions
from balancer.routing import Reason, Rules
from balancer.table import Table
from balancer.turn import Turn
from balancer.waiting import WaitingRoom
from shared.client_hello import CEILING
from shared.deadlines import Deadline
from shared.errors import HomingError

GRACE = 4.0
"""Seconds that relayed connections get to finish when the balancer stops."""

OPENING = 1.0
"""Seconds that clients wait at most, at start, for all servers to be reached."""


@attrs.frozen
class BalancerOptions:
    """How a balancer runs."""

    listen: Sequence[str]
    """Twisted endpoint strings."""
    policy: str = "round-robin"
    ignore_ids: bool = False
    close_not_tls: bool = False
    hello_timeout: float = 5.0
    """Seconds within which a ClientHello must have come, and a server been found for it."""
    hello_ceiling: int = CEILING
    """Bytes of the longest hello."""
    max_waiting: int = 4096
    """Connections that may wait for the rest of their hello, or for a server."""
    log_decisions: bool = False
    source_rate: float = 200.0
    """Connections a second from one source that may follow their identifier; 0: any number."""
    server_excess: float = 2.0
    """How many times the mean of all servers identifiers may send to one; 0: any number."""


class Reactor(ingress.Reactor, waiting.Reactor, relay.Reactor, handoff.Reactor):
    """What a balancer needs of the reactor."""


class _Nobody(Factory):
    """The factory of ports whose connections `Ingress` accepts itself."""

    noisy = False


class Balancer(Service):
    """Routes every connection to one of `servers`: a UNIX socket's path or `RelayOptions` each."""

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        options: BalancerOptions,
        table: Table,
        servers: Mapping[str, str | RelayOptions],
        groups: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        learned: LearnedIds | None = None,
    ) -> None:
        self._reactor = reactor
        self._options = options
        balancing = Balancing(self._changed, self._give_back, self._learn, self._free)
        self.planes: dict[str, DataPlane] = {
            name: HandOff(reactor, name, way, balancing)
            if isinstance(way, str)
            else Relay(reactor, name, way, balancing)
            for name, way in servers.items()
        }
        chooser = policy(
            options.policy, lambda server: self.planes[server].active, secrets.randbelow
        )
        self.dispatch = Dispatch(
            reactor,
            self.planes,
            Rules(table, chooser, options.ignore_ids, options.close_not_tls, groups, learned),
            SourceLimit(options.source_rate),
            ServerLimit(options.server_excess),
            options.hello_timeout,
            options.max_waiting,
            options.log_decisions,
        )
        self._turn = Turn(reactor)
        self._waiting = WaitingRoom(
            reactor,
            options.max_waiting,
            options.hello_timeout,
            options.hello_ceiling,
            self.dispatch.route,
            self._turn,
        )
        self._ingresses: list[Ingress] = []
        self._opening: Deadline | None = None
        self._expectant: list[tuple[frozenset[str], Deferred[None]]] = []

    @property
    def rules(self) -> Rules:
        """What it routes by."""
        return self.dispatch.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self.dispatch.rules = rules

    @property
    def counts(self) -> Mapping[str, Mapping[Reason, int]]:
        """Connections so far, by the server that got them ("" where none did) and the reason."""
        return self.dispatch.counts

    def startService(self) -> None:
        """Listen at once, but accept only when all servers have been reached, or `OPENING` is over.

        Else the first clients would go to any server, since their own is not known to be up.
        """
        super().startService()
        for plane in self.planes.values():
            plane.start()
        for description in self._options.listen:
            self._ingresses.append(self._listen(description))
        self._log.info(
            "listening at {addresses}; table 130 has {entries} entries",
            addresses=", ".join(self.addresses),
            entries=len(self.rules.table.entries),
        )
        self._opening = Deadline(self._reactor, OPENING, self._open)
        self.when_up(self.planes).addCallback(lambda _: self._open())

    def _open(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
            for one in self._ingresses:
                one.open()

    @property
    def addresses(self) -> list[str]:
        """Host and port of every listening port."""
        return [one.address for one in self._ingresses]

    def when_up(self, servers: Iterable[str]) -> Deferred[None]:
        """Fires once all of `servers` can be reached."""
        reached: Deferred[None] = Deferred()
        self._expectant.append((frozenset(servers), reached))
        self._changed()
        return reached

    def _listen(self, description: str) -> Ingress:
        ports: list[object] = []
        serverFromString(self._reactor, description).listen(_Nobody()).addBoth(ports.append)
        port = ports[0] if ports else None
        if not isinstance(port, tcp.Port) or port.addressFamily not in (AF_INET, AF_INET6):
            if IListeningPort.providedBy(port):
                port.stopListening()
            cause = getattr(port, "value", "only tcp:, tcp6: and systemd: endpoints can be used")
            raise HomingError(f"cannot listen at {description}: {cause}")
        return Ingress(
            self._reactor, port, self._options.hello_timeout, self._waiting.receive, self._turn
        )

    def _give_back(self, arrival: Arrival) -> None:
        self.dispatch.route(arrival)

    def _free(self, server: str) -> None:
        self.dispatch.bring_waiting(server)

    def _learn(self, server: str, identifier: bytes) -> None:
        """A server that keeps to no record gave a session ID out."""
        if self.rules.learned is not None:
            self.rules.learned.learn(identifier, server, self._reactor.seconds())

    def _changed(self) -> None:
        """A server went up or down."""
        self.dispatch.changed()
        up = self.dispatch.up
        for expected in [one for one in self._expectant if one[0].issubset(up)]:
            self._expectant.remove(expected)
            expected[1].callback(None)

    def stopService(self) -> Deferred[None]:
        """Accept no more, and give relayed connections `GRACE` seconds to end."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        await gatherResults([one.stop() for one in self._ingresses])
        self._waiting.close_all()
        self.dispatch.stop()
        await gatherResults([plane.stop(GRACE) for plane in self.planes.values()])
