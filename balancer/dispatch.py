"""The path of a connection that the fast path leaves: looked at and routed (Fig. 2), or waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.logger import Logger

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import DataPlane
from homing.balancer.hello_watch import HelloWatch
from homing.balancer.ingress import IngressReactor
from homing.balancer.limits import ServerLimit, SourceLimit
from homing.balancer.options import BalancerOptions
from homing.balancer.routing import FOLLOWED, NOTHING, Decision, Excluded, Reason, Rules, decide
from homing.balancer.routing_log import RoutingLog
from homing.balancer.time_slice import TimeSlice
from homing.balancer.waiting import For, WaitingRoom, WaitsFor
from homing.shared.client_hello import NeedMore, Outcome


class Dispatch:
    """Routes connections to `planes` by `rules`, within the limits.

    The path of a hello that is complete: `receive`, `route`, `_place`, `_try_servers`, `_take`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IngressReactor,
        time_slice: TimeSlice,
        planes: Mapping[str, DataPlane],
        rules: Rules,
        options: BalancerOptions,
    ) -> None:
        self.rules = rules
        self.up: tuple[str, ...] = ()
        self.log = RoutingLog(planes, options.log_decisions)
        self.waiting = WaitingRoom(
            reactor,
            time_slice,
            self.bring_waiting,
            self._has_waited,
            limit=options.max_waiting,
            timeout=options.hello_timeout,
        )
        self._watches: dict[ClientConnection, HelloWatch] = {}
        self._reactor = reactor
        self._slice = time_slice
        self._planes = planes
        self._sources = SourceLimit(options.source_rate)
        self._servers = ServerLimit(options.server_excess)
        self.hello_ceiling = options.hello_ceiling
        self._stopping = False

    def renew(self, options: BalancerOptions) -> None:
        """Go on with other limits; what has been counted so far still counts."""
        self.log.explains = options.log_decisions
        self.waiting.renew(options.max_waiting, options.hello_timeout)
        self._sources.rate, self._servers.excess = options.source_rate, options.server_excess
        self.hello_ceiling = options.hello_ceiling

    def receive(self, client: ClientConnection) -> None:
        """Bring a connection to its server if its hello is complete, or is none."""
        outcome = self._look(client)
        if isinstance(outcome, NeedMore):
            self._watches[client] = HelloWatch(self._reactor, client, self._read_on, self._close)
            self.waiting.add(client, For.HELLO)
        elif outcome is not None:
            self.route(client)

    def route(self, client: ClientConnection) -> None:
        """Bring a connection to a server, or let it wait for one."""
        waits_for = self._place(client)
        if waits_for is not None:
            self.waiting.add(client, waits_for)

    def _place(self, client: ClientConnection, may_wait: bool = True) -> WaitsFor | None:
        """Bring it to a server; return what it has to wait for instead, if it has to."""
        return self._alone(client, lambda: self._try_servers(client, may_wait))

    def _alone(
        self, client: ClientConnection, place: Callable[[], WaitsFor | None]
    ) -> WaitsFor | None:
        """What `place` returns; an exception closes this connection and reaches no other."""
        try:
            return place()
        except Exception:
            self._log.failure("closed {source}: cannot be routed", source=client.source)
            client.close()
            return None

    def _try_servers(self, client: ClientConnection, may_wait: bool) -> WaitsFor | None:
        """Decide by Fig. 2, each time without the servers that did not take it, until one does."""
        assert client.hello is not None
        now = self._reactor.seconds()
        while True:
            decision = client.decision = decide(
                self.rules, client.hello, self.up, client.source, now, client.excluded
            )
            server = decision.server
            if server is None:
                return self._without_server(client, decision, may_wait)
            if decision.reason in FOLLOWED and not self._admits(client, server, now):
                continue
            if not self.waiting.is_awaited(server) and self._take(client):
                return None
            busy = self._planes[server].up
            if busy and may_wait and self._is_only_for(server, client, decision):
                return server
            client.exclude(server, Reason.OWNER_BUSY if busy else Reason.OWNER_DOWN)

    def _take(self, client: ClientConnection) -> bool:
        """Bring it to the server that was decided on; False if that is busy."""
        decision = client.decision
        assert decision is not None
        assert decision.server is not None
        if not self._planes[decision.server].take(client):
            return False
        self.log.tell(client.source, decision)
        return True

    def _admits(self, client: ClientConnection, server: str, now: float) -> bool:
        """Whether the limits let it follow its identifier; if not, that is excluded."""
        if not client.admitted:
            excess = self.excess(client.source, server, now, client.excluded.servers)
            client.admitted = excess is None
            if excess is not None:
                client.refuse(server, excess)
        return client.admitted

    def excess(
        self,
        source: str,
        server: str,
        now: float,
        gone_before: Mapping[str, Reason] = NOTHING.servers,
    ) -> Reason | None:
        """Why a connection must not follow its identifier to `server`; None: it may, and counts.

        Only a new connection counts against its source, and none counts twice against a server.
        """
        if not gone_before and not self._sources.admits(source, now):
            self.log.source_excess.happened()
            return Reason.SOURCE_EXCESS
        choices = len(set(self.up) - gone_before.keys()) if gone_before else len(self.up)
        if self._servers.admits(server, choices, now):
            return None
        if self._sources.is_rare(source) and self._servers.admits(server, choices, now, rare=True):
            return None
        self.log.server_excess[server].happened()
        return Reason.SERVER_EXCESS

    def _is_only_for(self, server: str, client: ClientConnection, decision: Decision) -> bool:
        """Whether no server that is up but `server` can know its session."""
        if decision.owner is None or decision.reason not in FOLLOWED:
            return False
        members = set(self.rules.groups.get(decision.owner, ())) & set(self.up)
        return members <= {server, *client.excluded.servers}

    def _without_server(
        self, client: ClientConnection, decision: Decision, may_wait: bool
    ) -> WaitsFor | None:
        if decision.reason is not Reason.NOBODY or self._stopping:
            self.log.tell(client.source, decision)
            client.close()
        elif may_wait:
            why = client.excluded.identifiers
            if Reason.SERVER_EXCESS in client.excluded.servers.values():
                why = Reason.SERVER_EXCESS
            client.excluded = Excluded(identifiers=why)
            client.admitted = True  # the limits have been asked
            return For.ANY_SERVER
        else:
            self._close_unserved(client)
        return None

    def give_back(self, client: ClientConnection, server: str, why: Reason) -> None:
        """`server` did not take it: another one must."""
        client.exclude(server, why)
        if client.hello is None:  # it was usual, and nobody has had to read it in full
            self.receive(client)
        else:
            self.route(client)

    def changed(self) -> None:
        """A server has come or left, gone up or down."""
        self.up = tuple(name for name, plane in self._planes.items() if plane.up)
        for what in self.waiting.awaited:
            if isinstance(what, str) and what not in self.up:
                for client in self.waiting.queue(what):
                    if self.waiting.leave(client) is not None:  # not evicted meanwhile
                        self.route(client)

    def bring_waiting(self, what: WaitsFor) -> None:
        """Bring connections that wait for `what` to it, as many as are taken."""
        if what is For.ANY_SERVER:
            self.waiting.pass_on(what, self._place)
        elif what is not For.HELLO:
            self.waiting.pass_on(what, lambda client: self._hand_on(client, what))

    def _hand_on(self, client: ClientConnection, server: str) -> WaitsFor | None:
        return self._alone(client, lambda: None if self._take(client) else server)

    def _look(self, client: ClientConnection) -> Outcome | None:
        """Look at its hello; None, and it is closed, when the client has gone."""
        try:
            return client.look(self.hello_ceiling)
        except OSError as error:
            self._close(client, str(error))
            return None

    def _read_on(self, client: ClientConnection) -> bool:
        """More of its hello has come; whether there was time to look at it."""
        if not self._slice.begin():
            return False
        outcome = self._look(client)
        if outcome is not None and not isinstance(outcome, NeedMore):
            self._leave(client)
            self.route(client)
        self._slice.end()
        return True

    def _has_waited(self, client: ClientConnection, what: WaitsFor, early: bool) -> None:
        """It has waited too long, or, `early`, the room is full."""
        if what is For.HELLO and early:
            self._leave(client)
            self._close_unserved(client, Reason.CROWDED_OUT)
        elif what is For.HELLO:
            self._look_once_more(client)
        elif what is For.ANY_SERVER:
            self._close_unserved(client)
        else:
            client.exclude(what, Reason.OWNER_BUSY)
            self._place(client, may_wait=False)

    def _look_once_more(self, client: ClientConnection) -> None:
        """Route it if the rest of its hello has just come; else close it."""
        outcome = self._look(client)
        self._leave(client)
        if outcome is None:
            return
        if not isinstance(outcome, NeedMore):
            self._place(client, may_wait=False)
        else:
            self.log.tell(client.source, Decision(None, Reason.NO_HELLO))
            client.close()

    def _close_unserved(self, client: ClientConnection, why: Reason | None = None) -> None:
        why = why or (Reason.ALL_BUSY if self.up else Reason.NOBODY)
        decision = client.decision or Decision(None, why)
        self.log.unserved(client.source, attrs.evolve(decision, reason=why))
        client.close()

    def _close(self, client: ClientConnection, why: str) -> None:
        """Close a connection whose hello is not complete."""
        self._log.debug("closed {source}: {why}", source=client.source, why=why)
        self._leave(client)
        client.close()

    def _leave(self, client: ClientConnection) -> None:
        """Wait for its hello no longer."""
        self.waiting.leave(client)
        watch = self._watches.pop(client, None)
        if watch is not None:
            watch.stop()

    def stop(self) -> None:
        """Close the connections that wait, and let none wait from now on."""
        self._stopping = True
        for client in self.waiting.clear():
            self._close(client, "the balancer stops")
