"""Logs which servers go up and down, but not while the balancer starts or stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from homing.balancer.data_planes.base import DataPlane
from homing.shared.deadlines import Deadline

OPENING = 1.0
"""Seconds after which a balancer begins to accept though servers are missing."""

_CALM = 0.3
"""Seconds until a server is logged as down: when all stop at once, none is."""


class Availability:
    """Calls `begun` when all of `planes` are up, or after `OPENING`; then logs every change."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, planes: Mapping[str, DataPlane], begun: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._planes = planes
        self._say_begun = begun
        self._begin: Deadline | None = None
        self._has_begun = False
        self._up: set[str] = set()
        self._going: dict[str, IDelayedCall] = {}

    def start(self) -> None:
        """Wait for the servers: the balancer listens now."""
        self._begin = Deadline(self._clock, OPENING, self._begun)
        self.changed()

    def _begun(self) -> None:
        self._begin = None
        self._has_begun = True
        self._say_begun()

    def changed(self) -> None:
        """A server may have come or left, gone up or down."""
        up = {name for name, plane in self._planes.items() if plane.up}
        if self._begin is not None and len(up) == len(self._planes):
            self._begin.cancel()
            self._begun()
        elif self._has_begun:
            for name in sorted(up - self._up):
                self._came(name)
            for name in sorted(self._up - up):
                if name in self._planes:
                    self._going[name] = self._clock.callLater(_CALM, self._gone, name)
        self._up = up

    def _came(self, name: str) -> None:
        going = self._going.get(name)
        if going is not None:
            going.cancel()
            self._gone(name)
        active = self._planes[name].active
        self._log.info("{name} is up, with {active} connections", name=name, active=active)

    def _gone(self, name: str) -> None:
        del self._going[name]
        if name in self._planes:  # else it has left the farm
            self._log.warn("{name} is down", name=name)

    def stop(self) -> None:
        """Log no more."""
        self._has_begun = False
        if self._begin is not None:
            self._begin.cancel()
            self._begin = None
        for going in self._going.values():
            going.cancel()
        self._going.clear()
