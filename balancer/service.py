"""Balancer 104 as a Twisted service: ingress, waiting room, Fig. 2, data planes."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from socket import socket
from types import MappingProxyType

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from balancer import handoff, ingress, relay, waiting
from balancer.arrival import Arrival
from balancer.data_plane import Balancing, DataPlane
from balancer.handoff import HandOff
from balancer.ingress import Ingress
from balancer.learned import LearnedIds
from balancer.listening import open_all
from balancer.policies import Policy, policy
from balancer.relay import Relay, RelayOptions
from balancer.routing import Decision, Reason, Rules, decide
from balancer.table import Table
from balancer.waiting import WaitingRoom
from shared.client_hello import CEILING

GRACE = 4.0
"""Seconds that relayed connections get to finish when the balancer stops."""

_RETRY = 0.25


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
        balancing = Balancing(self._changed, self._route, self._learn)
        self.planes: dict[str, DataPlane] = {
            name: HandOff(reactor, name, way, balancing)
            if isinstance(way, str)
            else Relay(reactor, name, way, balancing)
            for name, way in servers.items()
        }
        self.rules = Rules(
            table, self._policy(), options.ignore_ids, options.close_not_tls, groups, learned
        )
        self._up: tuple[str, ...] = ()
        self._waiting = WaitingRoom(
            reactor, options.max_waiting, options.hello_timeout, options.hello_ceiling, self._route
        )
        self._ingresses: list[Ingress] = []
        # Connections that no server can take at the moment
        self._stranded: deque[Arrival] = deque()
        self._retry: IDelayedCall | None = None
        self._expectant: list[tuple[frozenset[str], Deferred[None]]] = []

    def _policy(self) -> Policy:
        return policy(
            self._options.policy, lambda server: self.planes[server].active, secrets.randbelow
        )

    def renew(self, options: BalancerOptions, default_server: str | None) -> None:
        """Go on with other `options`, all but where it listens, and another default server."""
        if options.policy != self._options.policy:
            self._options = options
            self.rules = attrs.evolve(self.rules, policy=self._policy())
        self._options = options
        self.rules = attrs.evolve(
            self.rules,
            table=attrs.evolve(self.rules.table, default=default_server),
            ignore_ids=options.ignore_ids,
            close_not_tls=options.close_not_tls,
        )
        self._waiting.renew(options.max_waiting, options.hello_timeout, options.hello_ceiling)
        for one in self._ingresses:
            one.defer(options.hello_timeout)

    def startService(self) -> None:
        super().startService()
        for plane in self.planes.values():
            plane.start()
        self._listen()
        self._log.info(
            "listening at {addresses}; table 130 has {entries} entries",
            addresses=", ".join(self.addresses),
            entries=len(self.rules.table.entries),
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
        self._ingresses = [
            Ingress(self._reactor, one, self._options.hello_timeout, self._waiting.receive)
            for one in sockets
        ]

    def _route(self, arrival: Arrival) -> None:
        """Bring a connection to its server; what goes wrong with one must not reach others."""
        try:
            self._bring(arrival)
        except Exception:
            self._log.failure("closed {source}: cannot be routed", source=arrival.source)
            arrival.close()

    def _bring(self, arrival: Arrival) -> None:
        """Fig. 2: find the server of a connection whose hello is complete, and bring it there."""
        hello = arrival.hello
        assert hello is not None
        up = self._up
        if arrival.tried:
            up = tuple(name for name in up if name not in arrival.tried)
        decision = decide(self.rules, hello, up, arrival.source, self._reactor.seconds())
        if self._options.log_decisions:
            self._explain(arrival, decision)
        if decision.server is not None:
            self.planes[decision.server].take(arrival)
        elif decision.reason is Reason.NOBODY and self.running:
            self._strand(arrival)
        else:
            arrival.close()

    def _explain(self, arrival: Arrival, decision: Decision) -> None:
        candidate = decision.candidate
        self._log.info(
            "{source} to {server}: {reason}{identifier}",
            source=arrival.source,
            server=decision.server or "nobody",
            reason=decision.reason.value,
            identifier=f" ({candidate.carrier} {candidate.identifier.hex()})" if candidate else "",
        )

    def _learn(self, server: str, identifier: bytes) -> None:
        """A server that keeps to no record gave a session ID out."""
        if self.rules.learned is not None:
            self.rules.learned.learn(identifier, server, self._reactor.seconds())

    def _strand(self, arrival: Arrival) -> None:
        """Keep a connection until a server can take it, but not for long, nor too many of them."""
        now = self._reactor.seconds()
        if arrival.give_up_at is None:
            arrival.give_up_at = now + self._options.hello_timeout
        if now >= arrival.give_up_at:
            self._log.warn("closed {source}: no server is up", source=arrival.source)
            arrival.close()
            return
        if len(self._stranded) >= self._options.max_waiting:
            self._stranded.popleft().close()
        arrival.tried.clear()
        self._stranded.append(arrival)
        if self._retry is None:
            self._retry = self._reactor.callLater(_RETRY, self._try_stranded)

    def _try_stranded(self) -> None:
        self._retry = None
        stranded, self._stranded = self._stranded, deque()
        for arrival in stranded:
            self._route(arrival)

    def _changed(self) -> None:
        """A server went up or down."""
        self._up = tuple(name for name, plane in self.planes.items() if plane.up)
        for expected in [one for one in self._expectant if one[0].issubset(self._up)]:
            self._expectant.remove(expected)
            expected[1].callback(None)

    def stopService(self) -> Deferred[None]:
        """Accept no more, and give relayed connections `GRACE` seconds to end."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        for one in self._ingresses:
            one.stop()
        self._waiting.close_all()
        if self._retry is not None:
            self._retry.cancel()
        while self._stranded:
            self._stranded.popleft().close()
        await gatherResults([plane.stop(GRACE) for plane in self.planes.values()])
