"""Limits on what identifiers may do: whoever sends chosen ones must not aim load at one server.

Identifiers are sent in clear, so anybody can repeat one that they have seen.  Within the limits a
connection goes where its identifier sends it; above them it is served all the same, by another
server.  Pure; time comes in, in seconds.
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
"""Seconds over which the arrivals of servers are compared: older ones fade out."""

ALWAYS = 1000
"""Arrivals in a `WINDOW` that are never too many for a server: 100 a second, or all at once."""

_RARE = 0.9
"""Part of its burst that a source must have left to be a rare one."""


@attrs.define
class SourceLimit:
    """At most `rate` connections a second from one source, and `BURST` seconds' worth at once.

    A source is an IPv4 address or an IPv6 network of 64 bits.  A `rate` of 0 is no limit.
    """

    rate: float
    _left: dict[str | bytes, tuple[float, float]] = attrs.field(factory=dict)
    """What each source has left, and when that was so; the longest unseen first."""

    def __len__(self) -> int:
        return len(self._left)

    def admits(self, source: str, now: float) -> bool:
        """Whether one more connection from this IP address may follow its identifier."""
        if not self.rate:
            return True
        key = _network(source)
        most = max(1.0, self.rate * BURST)
        left, seen = self._left.pop(key, (most, now))
        left = min(most, left + max(0.0, now - seen) * self.rate)
        admitted = left >= 1
        self._left[key] = left - admitted, now
        if len(self._left) > MOST_SOURCES:
            del self._left[next(iter(self._left))]
        return admitted

    def is_rare(self, source: str) -> bool:
        """Whether it has used little of its burst, as those do who only come back."""
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

    It is twice that for rare sources, so that they still come home while few others send too much.
    Never fewer than `ALWAYS` in a `WINDOW`, so that honest bursts pass.  Only what was admitted
    counts: an attack does not raise its own limit.  An `excess` of 0 is no limit, nor is there one
    while no more than `excess` servers are up: one of them may be the only one with sessions.
    """

    excess: float
    _all: _Fading = attrs.field(factory=lambda: _Fading())
    _by_server: dict[str, _Fading] = attrs.field(factory=dict)

    def admits(self, server: str, up: int, now: float, rare: bool = False) -> bool:
        """Whether one more may follow its identifier to `server`, one of so many that are up.

        `rare` says that its source is.
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
    """A count in which what is `WINDOW` seconds old weighs 1/e."""

    count: float = 0.0
    seen: float | None = None

    def at(self, now: float) -> float:
        """What is left of it."""
        if self.seen is not None and now > self.seen:
            self.count *= exp((self.seen - now) / WINDOW)
        self.seen = now
        return self.count
