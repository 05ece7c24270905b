"""A clock for timers that no jump of the wall clock delays.

Twisted's own timers follow the time of day, which applications in a server rely on.  A lease must
be renewed all the same when somebody sets it back.
"""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any

from twisted.internet.task import Clock

TICK = 0.1
"""Seconds between two looks at what is due."""


class SteadyClock(Clock):
    """Runs timers in the reactor's thread, by the monotonic clock, while the reactor runs."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self._began = time.monotonic()
        self._over = Event()
        # Not now: the process may fork before the reactor runs, and a fork loses threads
        reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        self._reactor.addSystemEventTrigger("during", "shutdown", self._over.set)
        Thread(target=self._tick, name="steady clock", daemon=True).start()

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            self._reactor.callFromThread(self._look)

    def _look(self) -> None:
        self.advance(time.monotonic() - self._began - self.seconds())
