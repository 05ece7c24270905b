"""Balancer 104 as a Twisted service: ingress, waiting room, Fig. 2, data planes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from socket import socket
from types import MappingProxyType
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from homing.balancer.agreement import Agreement
from homing.balancer.availability import Availability
from homing.balancer.data_planes.base import Balancing, DataPlane
from homing.balancer.data_planes.handoff import HandOff, HandOffReactor
from homing.balancer.data_planes.relay import Relay, RelayReactor
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import DescriptorReserve
from homing.balancer.dispatch import Dispatch
from homing.balancer.fast_path import FastPath
from homing.balancer.follower import Routes
from homing.balancer.ingress import Ingress, IngressReactor
from homing.balancer.ingresses import Ingresses
from homing.balancer.learned import LearnedIds
from homing.balancer.observing import Observing
from homing.balancer.options import BalancerOptions
from homing.balancer.overload import Overload
from homing.balancer.policies import EVEN, Policy, policy
from homing.balancer.routing import Reason, Rules
from homing.balancer.table import Table
from homing.balancer.time_slice import TimeSlice
from homing.balancer.ways import To, Way
from homing.shared.errors import HomingError
from homing.shared.farm_state.values import ServerFacts
from homing.shared.record import Record

GRACE = 4.0
"""Seconds that relayed connections get to finish when the balancer stops."""


class BalancerReactor(IngressReactor, RelayReactor, HandOffReactor):
    """What a balancer needs of the reactor."""


class Balancer(Service):
    """Routes every connection to one of `servers`, which `follow` changes.

    It listens at `options.listen`, or has `sockets`, which it then owns, that listen already.
    `records`, by server, are compared with what servers say they draw from.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: BalancerReactor,
        options: BalancerOptions,
        table: Table,
        servers: Mapping[str, Way],
        *,
        groups: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        learned: LearnedIds | None = None,
        key_names: LearnedIds | None = None,
        records: Mapping[str, Record] | None = None,
        sockets: Sequence[socket] | None = None,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._reserve = DescriptorReserve()
        self._traffic = Traffic(reactor, self._reserve)
        self.agreement = Agreement(records)
        self.observing = Observing(reactor, lambda: self.rules)
        self._weights = EVEN
        self._balancing = Balancing(
            changed=self._changed,
            give_back=lambda *refused: self.dispatch.give_back(*refused),
            learn=self.observing.learn,
            free=lambda server: self.dispatch.bring_waiting(server),
            told=self.agreement.told,
        )
        self._ways = dict(servers)
        self._followed: Mapping[str, ServerFacts] | None = None
        """The servers that `_ways` lead to, where there is a way to all."""
        self.planes = {name: self._plane(name, way) for name, way in servers.items()}
        self._leaving: set[DataPlane] = set()
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
        for name, way in servers.items():
            self.observing.add(name, self.planes[name], way)
        self._slice = TimeSlice(reactor)
        self.dispatch = Dispatch(reactor, self._slice, self.planes, rules, options)
        self.fast_path = FastPath(self.dispatch, self.planes, self._slice)
        self._overload = Overload(self._count_open, self.dispatch.log.refused, options)
        self.ingresses = Ingresses(options.listen, sockets, self._ingress)
        self._expectant: list[tuple[frozenset[str], Deferred[None]]] = []
        self.accepting: Deferred[None] = Deferred()
        """Fires once it accepts, whatever servers are up."""

    def _plane(self, name: str, way: Way) -> DataPlane:
        if isinstance(way, str):
            return HandOff(self._reactor, name, way, self._balancing)
        return Relay(self._reactor, name, way, self._balancing, self._traffic)

    def _policy(self) -> Policy:
        return policy(
            self._options.policy,
            lambda server: self.planes[server].active,
            secrets.randbelow,
            self._weights,
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
        self._overload.renew(options)
        self.ingresses.defer(options.hello_timeout)

    def follow(self, routes: Routes, to: To) -> None:
        """Go on with other servers, table and weights; before it has started, start with them.

        Connections that servers have stay with them, also when a server leaves the farm.  To one
        whose address has changed, new connections go at the new address.
        """
        new = self._ways if routes.servers is self._followed else self._to_all(routes, to)
        self._followed = routes.servers if len(new) == len(routes.servers) else None
        for name in [name for name, way in self._ways.items() if new.get(name) != way]:
            self._remove(name)
        for name in [name for name in new if name not in self._ways]:
            self._add(name, new[name])
            if self.running:  # at the start, they are counted when it listens
                self._log.info("{name} belongs to the farm", name=name)
        if routes.weights != self._weights:
            self._weights = routes.weights
            self.rules = attrs.evolve(self.rules, policy=self._policy())
        self.rules = attrs.evolve(
            self.rules,
            table=attrs.evolve(routes.table, default=self.rules.table.default),
            groups=routes.groups,
            draining=routes.draining,
        )
        self._changed()

    def _to_all(self, routes: Routes, to: To) -> dict[str, Way]:
        found = {}
        for name, facts in routes.servers.items():
            try:
                found[name] = to(name, facts)
            except (ValueError, HomingError) as error:
                self._log.error("{name} gets no clients: {error}", name=name, error=error)
        return found

    def _add(self, name: str, way: Way) -> None:
        self._ways[name] = way
        plane = self.planes[name] = self._plane(name, way)
        self.dispatch.log.add(name)
        self.observing.add(name, plane, way)
        if self.running:
            plane.start()
            self.observing.start(name)

    def _remove(self, name: str) -> None:
        del self._ways[name]
        plane = self.planes.pop(name)
        self._log.info("{name} has left the farm, or its address", name=name)
        self.dispatch.log.remove(name)
        self.observing.remove(name)
        self._leaving.add(plane)
        self.dispatch.up = tuple(one for one in self.dispatch.up if one != name)
        ended = plane.stop(None)
        ended.addErrback(lambda failure: self._log.failure("{name} leaves", failure, name=name))
        ended.addCallback(lambda _: self._leaving.discard(plane))

    def startService(self) -> None:
        """Listen at once, but accept only when all servers are up, or after a second.

        Else clients that come back early would go to other servers than their own.
        """
        super().startService()
        for name, plane in self.planes.items():
            plane.start()
            self.observing.start(name)
        self.ingresses.start()
        self._availability.start()

    def _open(self) -> None:
        """Accept: all servers are up, or have been waited for long enough."""
        self.ingresses.open()
        missing = [name for name in self.planes if name not in self.dispatch.up]
        self._log.info(
            "listens at {addresses}; {up} of {servers} {are} up{without}; {table}",
            addresses=", ".join(self.ingresses.addresses),
            up=len(self.dispatch.up),
            servers=len(self.planes),
            are="server is" if len(self.planes) == 1 else "servers are",
            without=f", not {', '.join(missing)}" if missing else "",
            table=self.rules.table.in_words(),
        )
        if not self.accepting.called:
            self.accepting.callback(None)

    def when_up(self, servers: Iterable[str]) -> Deferred[None]:
        """Fires once all of `servers` can be reached that are of the farm."""
        reached: Deferred[None] = Deferred()
        self._expectant.append((frozenset(servers), reached))
        self._changed()
        return reached

    def listen(self) -> None:
        """Have clients wait in the kernel's queue until the start.  Raises HomingError."""
        self.ingresses.listen()

    def _ingress(self, port: socket) -> Ingress:
        return Ingress(
            self._reactor,
            port,
            self._options.hello_timeout,
            self.fast_path.receive,
            self._slice,
            self._reserve,
            self._overload,
        )

    def _count_open(self) -> int:
        """Connections that servers have, also those that are leaving."""
        return sum(plane.active for plane in (*self.planes.values(), *self._leaving))

    def _changed(self) -> None:
        """A server has come or left, gone up or down."""
        self.dispatch.changed()
        self._availability.changed()
        for expected in [one for one in self._expectant if self._are_up(one[0])]:
            self._expectant.remove(expected)
            expected[1].callback(None)

    def _are_up(self, servers: frozenset[str]) -> bool:
        """Whether those are up that have not left the farm, once it has any servers."""
        is_known = bool(self.planes) or not servers
        return is_known and (servers & self.planes.keys()).issubset(self.dispatch.up)

    def stop_accepting(self) -> None:
        """Leave the clients in the kernel's queues to other processes that have the sockets."""
        self.ingresses.stop()

    def connections_end(self, grace: float) -> Deferred[Any]:
        """Take no more, and fire when the last connection has ended, or was after `grace` s."""
        for name in self.planes:
            self.observing.remove(name)
        planes = [*self.planes.values(), *self._leaving]
        return gatherResults([plane.stop(grace) for plane in planes])

    def stopService(self) -> Deferred[None]:
        """Accept no more, and give relayed connections `GRACE` seconds to end."""
        super().stopService()
        self._availability.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        self.stop_accepting()
        self.dispatch.stop()
        await self.connections_end(GRACE)
        self._traffic.close()
        self._reserve.close()
