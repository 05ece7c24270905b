"""What is too much for the farm is closed as it is accepted, before its hello is looked at.

Closing early is what keeps a flood cheap: a connection that is closed here has cost an accept and
a close, and no server hears of it.  Pure; times come in as seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from homing.balancer.limits import SourceLimit
from homing.balancer.options import BalancerOptions
from homing.balancer.routing import Reason

RECOUNT = 0.1
"""Seconds after which open connections are counted again while there is room for more."""


class Overload:
    """Holds new connections to `max_connections` and `max_source_rate` of the options; 0: no limit.

    `count_open` says how many connections servers have open.  Those that only wait do not count:
    the waiting room has a limit of its own, where a hello that does not come makes room.  Those do
    that were open when the process began, whoever brought them.
    `refused` hears of each connection that is not admitted: its source, an IP address, and why.
    """

    __slots__ = (
        "_connections",
        "_count_open",
        "_is_full",
        "_recount_at",
        "_refused",
        "_room",
        "_sources",
    )

    def __init__(
        self,
        count_open: Callable[[], int],
        refused: Callable[[str, Reason], None],
        options: BalancerOptions,
    ) -> None:
        self._count_open = count_open
        self._refused = refused
        self._sources = SourceLimit(options.max_source_rate)
        self.renew(options)

    def renew(self, options: BalancerOptions) -> None:
        """Go on with other limits; what sources have used so far still counts."""
        self._connections = options.max_connections
        self._sources.rate = options.max_source_rate
        self._room = 0.0 if self._connections else math.inf
        """How many more may be admitted before the open ones are counted again."""
        self._recount_at = -math.inf if self._connections else math.inf
        self._is_full = False
        """Whether there was no room at the last count."""

    def begin(self, now: float) -> None:
        """A batch of new connections begins."""
        if self._room <= 0 or now >= self._recount_at:
            self._recount(now)

    def _recount(self, now: float) -> None:
        self._room = self._connections - self._count_open()
        self._recount_at = now + RECOUNT
        self._is_full = self._room <= 0

    def admits(self, source: str, now: float) -> bool:
        """Whether to keep a new connection from this IP address; if not, close it at once."""
        if self._sources.rate and not self._sources.admits(source, now):
            self._refused(source, Reason.TOO_MANY_FROM_SOURCE)
            return False
        if self._room <= 0 and not self._is_full:
            self._recount(now)  # of those admitted since, many may only wait
        if self._room <= 0:
            self._refused(source, Reason.TOO_MANY_OPEN)
            return False
        self._room -= 1
        return True
