"""Counts what became of connections, and logs it; what may happen often, in a line a minute."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from homing.balancer.routing import Decision, Reason
from homing.shared.candidates import Carrier
from homing.shared.rarely import Rarely

NOBODY = ""
"""The key in `RoutingLog.counts` of connections that no server got."""


class RoutingLog:
    """Counts connections by server and reason; logs every decision if it `explains`."""

    _log = Logger()

    def __init__(self, servers: Iterable[str], explains: bool) -> None:
        self.explains = explains
        self.counts = {NOBODY: dict.fromkeys(Reason, 0)}
        unserved = Reason.NOBODY, Reason.ALL_BUSY, Reason.CROWDED_OUT, Reason.TOO_MANY_OPEN
        self._unserved = {
            why: self._rarely("connections closed as {why}: {count}", why=why.value)
            for why in unserved
        }
        self._unserved[Reason.TOO_MANY_FROM_SOURCE] = Rarely(self._say_flooded)
        self._flooding = ""
        self.source_excess = self._rarely(
            "too many come back from one address: {count} go where the policy says"
        )
        self.server_excess: dict[str, Rarely] = {}
        for name in servers:
            self.add(name)

    def add(self, name: str) -> None:
        """Count for one more server."""
        words = "too many come back to {name}: {count} go elsewhere"
        self.counts[name] = dict.fromkeys(Reason, 0)
        self.server_excess[name] = self._rarely(words, name=name)

    def remove(self, name: str) -> None:
        """Forget a server that has left."""
        del self.counts[name], self.server_excess[name]

    def _rarely(self, words: str, **facts: str) -> Rarely:
        return Rarely(lambda count: self._log.warn(words, count=count, **facts))

    def _say_flooded(self, count: int) -> None:
        self._log.warn(
            "connections closed as too many come from one address: {count}; the last from {source}",
            count=count,
            source=self._flooding,
        )

    def tell(self, source: str, decision: Decision) -> None:
        """Count a decision about a connection from `source`, an IP address."""
        candidate = decision.candidate
        brought = (candidate.carrier, candidate.identifier) if candidate else None
        self.tell_usual(source, decision.server or NOBODY, decision.reason, brought)

    def tell_usual(
        self, source: str, server: str, reason: Reason, brought: tuple[Carrier, bytes] | None
    ) -> None:
        """The same, of what `decide_usual` decides."""
        self.counts[server][reason] += 1
        if self.explains:
            self._explain(source, server, reason, brought)

    def _explain(
        self, source: str, server: str, reason: Reason, brought: tuple[Carrier, bytes] | None
    ) -> None:
        carrier, identifier = (brought[0].value, brought[1].hex()) if brought else (None, None)
        text = f"{source} to {server or 'nobody'}: {reason.value}"
        if brought:
            text += f" ({carrier} {identifier})"
        self._log.info(
            text.replace("{", "{{").replace("}", "}}"),  # fields cost a third of the whole line
            source=source,
            server=server or "nobody",
            reason=reason.value,
            carrier=carrier,
            identifier=identifier,
        )

    def unserved(self, source: str, decision: Decision) -> None:
        """Count a connection that was closed for want of a server."""
        self.tell(source, decision)
        self._unserved[decision.reason].happened()

    def refused(self, source: str, why: Reason) -> None:
        """Count a connection from `source` that was closed as it was accepted."""
        self._flooding = source
        self.unserved(source, Decision(None, why))
