"""Limits on following identifiers: nobody may aim load at one server by sending chosen ones.

Identifiers are sent in clear, so anybody can repeat one that they have seen.  Within the limits a
connection goes to the owner of its identifier; above them another server serves it.  Pure; times
come in as seconds.
"""

from __future__ import annotations

from math import exp

import attrs

from homing.shared.addresses import ip_address

BURST = 5.0
"""Seconds' worth of connections that a source may have at once."""

MOST_SOURCES = 10_000
"""Sources that are remembered; then the one unseen for longest is forgotten."""

WINDOW = 10.0
"""Seconds over which servers' connections are compared: older ones count less and less."""

ALWAYS = 1000
"""Connections in a `WINDOW` that are never too many for a server, even all at once."""

_RARE = 0.9
"""Share of its burst that a source must have left to be rare."""


@attrs.define
class SourceLimit:
    """At most `rate` connections a second from one source, and `BURST` seconds' worth at once.

    A source is an IPv4 address or an IPv6 network of 64 bits.  A `rate` of 0 is no limit.
    """

    rate: float
    _left: dict[str | bytes, tuple[float, float]] = attrs.field(factory=dict)
    """What each source had left, and when; the longest unseen first."""

    def __len__(self) -> int:
        return len(self._left)

    def admits(self, source: str, now: float) -> bool:
        """Whether one more connection from this IP address may follow its identifier."""
        rate = self.rate
        if not rate:
            return True
        key = _network(source) if ":" in source else source
        most = rate * BURST
        if most < 1:
            most = 1.0
        left, seen = self._left.pop(key, (most, now))
        if now > seen:  # no builtin min and max: they would be half of the cost
            left += (now - seen) * rate
        if left > most:
            left = most
        admitted = left >= 1
        self._left[key] = left - admitted, now
        if len(self._left) > MOST_SOURCES:
            del self._left[next(iter(self._left))]
        return admitted

    def is_rare(self, source: str) -> bool:
        """Whether it has used little of its burst, as a client does that only comes back."""
        left, _ = self._left.get(_network(source), (0.0, 0.0))
        return left > _RARE * self.rate * BURST


def _network(source: str) -> str | bytes:
    if ":" not in source:
        return source  # nearly always, so without a look at it
    address = ip_address(source)
    return str(address) if address.version == 4 else address.packed[:8]


@attrs.define
class ServerLimit:
    """What identifiers send to one server is at most `excess` times the mean of all that are up.

    Rare sources may have twice that, so that their clients reach the owner even while a few other
    sources send too much.  `ALWAYS` in a `WINDOW` are always admitted, so that honest bursts pass.
    Only admitted connections count, so an attack does not raise its own limit.  There is no limit
    with an `excess` of 0, nor while no more than `excess` servers are up: one of them may be the
    only one with sessions.
    """

    excess: float
    _all: _Fading = attrs.field(factory=lambda: _Fading())
    _by_server: dict[str, _Fading] = attrs.field(factory=dict)

    def admits(self, server: str, up: int, now: float, rare: bool = False) -> bool:
        """Whether one more may follow its identifier to `server`; `up` servers are up.

        `rare`: whether its source is.
        """
        if not self.excess:
            return True
        here = self._by_server.get(server)
        if here is None:
            here = self._by_server[server] = _Fading()
        count, total = here.at(now), self._all.at(now)
        if up > max(1, self.excess):
            most = max(ALWAYS, self.excess * total / up)
            if count + 1 > most * (2 if rare else 1):
                return False
        here.count = count + 1
        self._all.count = total + 1
        return True


@attrs.define
class _Fading:
    """A count that decays: what is `WINDOW` seconds old weighs 1/e."""

    count: float = 0.0
    seen: float | None = None

    def at(self, now: float) -> float:
        """The count, decayed until `now`."""
        if self.seen is not None and now > self.seen:
            self.count *= exp((self.seen - now) / WINDOW)
        self.seen = now
        return self.count
