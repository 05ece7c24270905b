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

from homing.balancer.agreement import Agreement
from homing.balancer.availability import Availability
from homing.balancer.data_planes.base import Balancing, DataPlane
from homing.balancer.data_planes.handoff import HandOff, HandOffReactor
from homing.balancer.data_planes.relay import Relay, RelayOptions, RelayReactor
from homing.balancer.descriptor_reserve import DescriptorReserve
from homing.balancer.dispatch import Dispatch
from homing.balancer.ingress import Ingress, IngressReactor
from homing.balancer.learned import LearnedIds
from homing.balancer.listening import open_all
from homing.balancer.options import BalancerOptions
from homing.balancer.policies import Policy, policy
from homing.balancer.probing.prober import Prober, Routing
from homing.balancer.routing import Reason, Rules
from homing.balancer.table import Table
from homing.balancer.time_slice import TimeSlice
from homing.shared.candidates import Candidate, Carrier
from homing.shared.identifiers import KEY_NAME_LENGTH
from homing.shared.record import Record

GRACE = 4.0
"""Seconds that relayed connections get to finish when the balancer stops."""


class BalancerReactor(IngressReactor, RelayReactor, HandOffReactor):
    """What a balancer needs of the reactor."""


class Balancer(Service):
    """Routes every connection to one of `servers`, each a UNIX socket's path or `RelayOptions`.

    It listens at `options.listen`, or has `sockets`, which it then owns, that listen already.
    `records`, by server, are compared with what servers say they draw from.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: BalancerReactor,
        options: BalancerOptions,
        table: Table,
        servers: Mapping[str, str | RelayOptions],
        *,
        groups: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        learned: LearnedIds | None = None,
        key_names: LearnedIds | None = None,
        records: Mapping[str, Record] | None = None,
        sockets: Sequence[socket] | None = None,
    ) -> None:
        self._reactor = reactor
        self._sockets = sockets
        self._options = options
        self._reserve = DescriptorReserve()
        self.agreement = Agreement(records)
        balancing = Balancing(
            changed=self._changed,
            give_back=lambda *refused: self.dispatch.give_back(*refused),
            learn=self._learn,
            free=lambda server: self.dispatch.bring_waiting(server),
            told=self.agreement.told,
        )
        self.planes: dict[str, DataPlane] = {
            name: HandOff(reactor, name, way, balancing)
            if isinstance(way, str)
            else Relay(reactor, name, way, balancing, self._reserve)
            for name, way in servers.items()
        }
        self._availability = Availability(reactor, self.planes, self._open)
        rules = Rules(
            table,
            self._policy(),
            options.ignore_ids,
            options.close_not_tls,
            groups,
            learned,
            key_names,
        )
        self.probers = {
            name: self._prober(plane, way)
            for name, plane in self.planes.items()
            if isinstance(way := servers[name], RelayOptions) and isinstance(plane, Relay)
            if way.probe is not None
        }
        self._slice = TimeSlice(reactor)
        self.dispatch = Dispatch(reactor, self._slice, self.planes, rules, options)
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
        """Connections so far, by server ("" where none got them) and reason."""
        return self.dispatch.log.counts

    def renew(self, options: BalancerOptions, default_server: str | None) -> None:
        """Go on with other `options`, except `listen`, and another default server."""
        before, self._options = self._options, options
        chooser = self.rules.policy if options.policy == before.policy else self._policy()
        self.rules = attrs.evolve(
            self.rules,
            policy=chooser,
            table=attrs.evolve(self.rules.table, default=default_server),
            ignore_ids=options.ignore_ids,
            close_not_tls=options.close_not_tls,
        )
        self.dispatch.renew(options)
        for one in self._ingresses:
            one.defer(options.hello_timeout)

    def startService(self) -> None:
        """Listen at once, but accept only when all servers are up, or after a second.

        Else clients that come back early would go to other servers than their own.
        """
        super().startService()
        for plane in self.planes.values():
            plane.start()
        for prober in self.probers.values():
            prober.start()
        self._listen()
        self._availability.start()

    def _open(self) -> None:
        """Accept: all servers are up, or have been waited for long enough."""
        for one in self._ingresses:
            one.open()
        missing = [name for name in self.planes if name not in self.dispatch.up]
        self._log.info(
            "listens at {addresses}; {up} of {servers} {are} up{without}; {table}",
            addresses=", ".join(self.addresses),
            up=len(self.dispatch.up),
            servers=len(self.planes),
            are="server is" if len(self.planes) == 1 else "servers are",
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
            Ingress(self._reactor, one, defer, self.dispatch.receive, self._slice, self._reserve)
            for one in sockets
        ]

    def _learn(self, server: str, identifier: bytes) -> None:
        """A relayed server has given a session ID out."""
        rules = self.rules
        if rules.learned is not None and rules.may_claim(server, identifier):
            rules.learned.learn(identifier, server, self._reactor.seconds())

    def _prober(self, plane: Relay, way: RelayOptions) -> Prober:
        assert way.probe is not None
        routing = Routing(
            owner_of=lambda identifier: self.rules.owner_of(identifier, self._reactor.seconds()),
            is_home=lambda server, owner: self.rules.is_home(server, owner),
            seen=self._seen if way.learn_ids else lambda server, brought: None,
        )
        return Prober(self._reactor, plane, way.probe, way.proxy_protocol, routing)

    def _seen(self, server: str, brought: Candidate) -> None:
        """A probed server has given this out: a key name stands for all tickets under that key."""
        if brought.carrier is Carrier.SESSION_ID:
            self._learn(server, brought.identifier)
            return
        key_names = self.rules.key_names
        is_key_name = len(brought.identifier) == KEY_NAME_LENGTH
        if key_names is None or not is_key_name:
            return
        if self.rules.table.find(brought.identifier) is None:
            key_names.learn(brought.identifier, server, self._reactor.seconds())

    def _changed(self) -> None:
        """A server has gone up or down."""
        self.dispatch.changed()
        self._availability.changed()
        up = self.dispatch.up
        for expected in [one for one in self._expectant if one[0].issubset(up)]:
            self._expectant.remove(expected)
            expected[1].callback(None)

    def stopService(self) -> Deferred[None]:
        """Accept no more, and give relayed connections `GRACE` seconds to end."""
        super().stopService()
        self._availability.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        for one in self._ingresses:
            one.stop()
        for prober in self.probers.values():
            prober.stop()
        self.dispatch.stop()
        await gatherResults([plane.stop(GRACE) for plane in self.planes.values()])
        self._reserve.close()
