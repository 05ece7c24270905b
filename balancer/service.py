"""Balancer 104 as a Twisted service: ingress, waiting room, Fig. 2, data planes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from socket import socket
from types import MappingProxyType

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from homing.balancer import ingress, waiting
from homing.balancer.arrival import Arrival
from homing.balancer.data_planes import handoff, relay
from homing.balancer.data_planes.base import Balancing, DataPlane
from homing.balancer.data_planes.handoff import HandOff
from homing.balancer.data_planes.relay import Relay, RelayOptions
from homing.balancer.dispatch import Dispatch
from homing.balancer.ingress import Ingress
from homing.balancer.learned import LearnedIds
from homing.balancer.limits import ServerLimit, SourceLimit
from homing.balancer.listening import open_all
from homing.balancer.notices import Notices
from homing.balancer.policies import Policy, policy
from homing.balancer.routing import Reason, Rules
from homing.balancer.spares import Spares
from homing.balancer.table import Table
from homing.balancer.turn import Turn
from homing.balancer.waiting import WaitingRoom
from homing.shared.client_hello import CEILING

GRACE = 4.0
"""Seconds that relayed connections get to finish when the balancer stops."""


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


class Balancer(Service):
    """Routes every connection to one of `servers`: a UNIX socket's path or `RelayOptions` each.

    `sockets`, open and listening, are accepted from instead of new ones at `options.listen`; they
    are its own from now on.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        options: BalancerOptions,
        table: Table,
        servers: Mapping[str, str | RelayOptions],
        groups: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        learned: LearnedIds | None = None,
        sockets: Sequence[socket] | None = None,
    ) -> None:
        self._reactor = reactor
        self._sockets = sockets
        self._options = options
        self._spares = Spares()
        balancing = Balancing(self._changed, self._give_back, self._learn, self._free)
        self.planes: dict[str, DataPlane] = {
            name: HandOff(reactor, name, way, balancing)
            if isinstance(way, str)
            else Relay(reactor, name, way, balancing, self._spares)
            for name, way in servers.items()
        }
        self._notices = Notices(reactor, self.planes, self._open)
        self.dispatch = Dispatch(
            reactor,
            self.planes,
            Rules(
                table, self._policy(), options.ignore_ids, options.close_not_tls, groups, learned
            ),
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
        self._expectant: list[tuple[frozenset[str], Deferred[None]]] = []

    def _policy(self) -> Policy:
        return policy(
            self._options.policy, lambda server: self.planes[server].active, secrets.randbelow
        )

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

    def renew(self, options: BalancerOptions, default_server: str | None) -> None:
        """Go on with other `options`, all but where it listens, and another default server."""
        before, self._options = self._options, options
        chooser = self.rules.policy if options.policy == before.policy else self._policy()
        self.rules = attrs.evolve(
            self.rules,
            policy=chooser,
            table=attrs.evolve(self.rules.table, default=default_server),
            ignore_ids=options.ignore_ids,
            close_not_tls=options.close_not_tls,
        )
        self.dispatch.renew(
            options.source_rate,
            options.server_excess,
            options.hello_timeout,
            options.max_waiting,
            options.log_decisions,
        )
        self._waiting.renew(options.max_waiting, options.hello_timeout, options.hello_ceiling)
        for one in self._ingresses:
            one.defer(options.hello_timeout)

    def startService(self) -> None:
        """Listen at once, but accept only when all servers have been reached, or after a second.

        Else the first clients would go to any server, since their own is not known to be up.
        """
        super().startService()
        for plane in self.planes.values():
            plane.start()
        self._listen()
        self._notices.start()

    def _open(self) -> None:
        """All servers are reached, or it has waited long enough for them."""
        for one in self._ingresses:
            one.open()
        missing = [name for name in self.planes if name not in self.dispatch.up]
        self._log.info(
            "listens at {addresses}; {up} of {servers} servers are up{without}; {table}",
            addresses=", ".join(self.addresses),
            up=len(self.dispatch.up),
            servers=len(self.planes),
            without=f", not {', '.join(missing)}" if missing else "",
            table=self.rules.table.in_words(),
        )

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

    def _listen(self) -> None:
        sockets = open_all(self._options.listen) if self._sockets is None else self._sockets
        defer = self._options.hello_timeout
        self._ingresses = [
            Ingress(self._reactor, one, defer, self._waiting.receive, self._turn, self._spares)
            for one in sockets
        ]

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
        self._notices.changed()
        up = self.dispatch.up
        for expected in [one for one in self._expectant if one[0].issubset(up)]:
            self._expectant.remove(expected)
            expected[1].callback(None)

    def stopService(self) -> Deferred[None]:
        """Accept no more, and give relayed connections `GRACE` seconds to end."""
        super().stopService()
        self._notices.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        for one in self._ingresses:
            one.stop()
        self._waiting.close_all()
        self.dispatch.stop()
        await gatherResults([plane.stop(GRACE) for plane in self.planes.values()])
        self._spares.close()
