"""Fig. 2 at work: every connection whose hello is there goes to its server, or waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.logger import Logger

from homing.balancer.arrival import Arrival
from homing.balancer.data_planes.base import DataPlane
from homing.balancer.limits import ServerLimit, SourceLimit
from homing.balancer.parked import Parked
from homing.balancer.routing import FOLLOWED, Decision, Reason, Rules, decide
from homing.shared.deadlines import Clock
from homing.shared.rarely import Rarely

NOBODY = ""
"""The server in `Dispatch.counts` of connections that none got."""


class Dispatch:
    """Brings connections to `planes` by `rules`, within the limits."""

    _log = Logger()

    def __init__(
        self,
        clock: Clock,
        planes: Mapping[str, DataPlane],
        rules: Rules,
        sources: SourceLimit,
        servers: ServerLimit,
        patience: float,
        limit: int,
        explains: bool,
    ) -> None:
        self.rules = rules
        self.counts = {name: dict.fromkeys(Reason, 0) for name in (*planes, NOBODY)}
        self.parked = Parked(clock, limit, patience, self._try_again, self.bring_waiting)
        self.up: tuple[str, ...] = ()
        self._clock = clock
        self._planes = planes
        self._sources = sources
        self._servers = servers
        self._explains = explains
        self._stopping = False
        self._unserved = {
            why: Rarely(self._say_unserved(why)) for why in (Reason.NOBODY, Reason.ALL_BUSY)
        }
        self._source_excess = Rarely(self._say_source_excess)
        self._server_excess = {name: Rarely(self._excess_of(name)) for name in planes}

    def renew(
        self, rate: float, excess: float, patience: float, limit: int, explains: bool
    ) -> None:
        """Go on with other limits; what has been counted so far still counts."""
        self._sources.rate, self._servers.excess = rate, excess
        self.parked.renew(limit, patience)
        self._explains = explains

    def route(self, arrival: Arrival) -> None:
        """Bring a connection to its server; what goes wrong with one must not reach others."""
        try:
            while not self._bring(arrival):
                pass
        except Exception:
            self._log.failure("closed {source}: cannot be routed", source=arrival.source)
            arrival.close()

    def changed(self) -> None:
        """A server went up or down."""
        self.up = tuple(name for name, plane in self._planes.items() if plane.up)
        for name, plane in self._planes.items():
            if not plane.up:
                for arrival in self.parked.leave(name):
                    self.route(arrival)

    def bring_waiting(self, server: str) -> None:
        """Bring those that wait for `server` there, as many as it takes."""
        self.parked.pass_on(server, self._take)

    def stop(self) -> None:
        """Nobody waits any longer."""
        self._stopping = True
        self.parked.close_all()

    def _bring(self, arrival: Arrival) -> bool:
        """One try; False: the server chosen is not to be had, so that another one must be."""
        arrival.decision = decision = self._decide(arrival)
        server = decision.server
        if server is None:
            self._without_server(arrival, decision)
            return True
        if not self.parked.waits_for(server) and self._take(arrival):
            return True
        busy = self._planes[server].up
        if busy and self._is_for(server, arrival) and self.parked.add(arrival, server):
            return True
        arrival.tried[server] = Reason.OWNER_BUSY if busy else Reason.OWNER_DOWN
        return False

    def _decide(self, arrival: Arrival) -> Decision:
        """Fig. 2; a connection follows its identifier within the limits only."""
        assert arrival.hello is not None
        now = self._clock.seconds()
        while True:
            decision = decide(
                self.rules,
                arrival.hello,
                self.up,
                arrival.source,
                now,
                arrival.tried,
                arrival.unfollowed,
            )
            if arrival.admitted or decision.reason not in FOLLOWED:
                return decision
            self._admit(arrival, decision, now)

    def _admit(self, arrival: Arrival, decision: Decision, now: float) -> None:
        """Let it go where its identifier sends it, or note why not.  The source is asked once."""
        server = decision.server
        assert server is not None
        if not arrival.tried and not self._sources.admits(arrival.source, now):
            arrival.unfollowed = Reason.SOURCE_EXCESS
            self._source_excess.happened()
            return
        choices = len(set(self.up) - arrival.tried.keys())
        rare = self._sources.is_rare(arrival.source)
        if self._servers.admits(server, choices, now, rare):
            arrival.admitted = True
        else:
            arrival.tried[server] = Reason.SERVER_EXCESS
            self._server_excess[server].happened()

    def _take(self, arrival: Arrival) -> bool:
        """Have the server that was decided on take it, and say so."""
        decision = arrival.decision
        assert decision is not None
        assert decision.server is not None
        if not self._planes[decision.server].take(arrival):
            return False
        self._tell(arrival, decision)
        return True

    def _is_for(self, server: str, arrival: Arrival) -> bool:
        """Whether its identifier sends it to `server`, and nobody else knows its session."""
        decision = arrival.decision
        if decision is None or decision.owner is None or decision.reason not in FOLLOWED:
            return False
        fellows = set(self.rules.groups.get(decision.owner, ())) & set(self.up)
        return fellows <= {server, *arrival.tried}

    def _without_server(self, arrival: Arrival, decision: Decision) -> None:
        if decision.reason is not Reason.NOBODY or self._stopping:
            self._tell(arrival, decision)
            arrival.close()
            return
        arrival.tried.clear()
        arrival.admitted = True  # it has been hindered enough
        if self.parked.add(arrival, None):
            return
        why = Reason.ALL_BUSY if self.up else Reason.NOBODY
        self._tell(arrival, attrs.evolve(decision, reason=why))
        self._unserved[why].happened()
        arrival.close()

    def _try_again(self, arrival: Arrival, server: str | None) -> None:
        """It has waited: for any server, or for this one for too long."""
        if server is not None:
            arrival.tried[server] = Reason.OWNER_BUSY
        self.route(arrival)

    def _say_unserved(self, why: Reason) -> Callable[[int], None]:
        def say(count: int) -> None:
            self._log.warn("connections closed as {why}: {count}", why=why.value, count=count)

        return say

    def _say_source_excess(self, count: int) -> None:
        self._log.warn(
            "too many come back from one address: {count} go where the policy says", count=count
        )

    def _excess_of(self, server: str) -> Callable[[int], None]:
        def say(count: int) -> None:
            self._log.warn(
                "too many come back to {name}: {count} go elsewhere", name=server, count=count
            )

        return say

    def _tell(self, arrival: Arrival, decision: Decision) -> None:
        """Count what became of a connection, and say it."""
        self.counts[decision.server or NOBODY][decision.reason] += 1
        if not self._explains:
            return
        candidate = decision.candidate
        words = "{source} to {server}: {reason}"
        self._log.info(
            words + " ({carrier} {identifier})" if candidate else words,
            source=arrival.source,
            server=decision.server or "nobody",
            reason=decision.reason.value,
            carrier=candidate.carrier.value if candidate else None,
            identifier=candidate.identifier.hex() if candidate else None,
        )
