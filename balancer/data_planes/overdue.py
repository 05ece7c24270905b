"""One timer for many: which of them have done nothing for too long; pure.

Time is counted in ticks of this process, so that a pause of it costs nobody more than one tick.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from homing.shared.deadlines import PAUSED, Clock

_TICKS = 8
"""In the time allowed: it is kept to an eighth, and all are looked at once a tick."""

_MOST_PAUSES = 5
"""Ticks in a row that do not count: a process that is always late must give up, too."""

_Item = TypeVar("_Item", bound=Hashable)


class Overdue(Generic[_Item]):
    """Calls `late` once with whatever was not touched for `seconds`, to 9/8 of them.

    `late` is called one turn of the reactor after the timer: what has come by then is read first.
    """

    def __init__(self, clock: Clock, seconds: float, late: Callable[[_Item], None]) -> None:
        self._clock = clock
        self._interval = seconds / _TICKS
        self._late = late
        self._touched: dict[_Item, int] = {}
        """The tick of the last touch."""
        self._tick = 0
        self._pauses = 0
        self._due = 0.0
        self._call: Any = None

    def touch(self, item: _Item) -> None:
        """It has done something, or begins."""
        self._touched[item] = self._tick
        if self._call is None:
            self._start()

    def discard(self, item: _Item) -> None:
        """It is done."""
        self._touched.pop(item, None)

    def __len__(self) -> int:
        return len(self._touched)

    def waiting(self) -> list[_Item]:
        """Who is not done."""
        return list(self._touched)

    def stop(self) -> None:
        """Leave no timer behind, if nothing waits."""
        if self._call is not None and not self._touched:
            self._call.cancel()
            self._call = None

    def _start(self) -> None:
        self._due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._fire)

    def _fire(self) -> None:
        paused = self._clock.seconds() - self._due > PAUSED and self._pauses < _MOST_PAUSES
        self._pauses = self._pauses + 1 if paused else 0
        self._tick += not paused
        self._call = self._clock.callLater(0, self._judge)

    def _judge(self) -> None:
        self._call = None
        first = self._tick - _TICKS
        if self._touched:
            self._start()
        for item in [one for one, tick in self._touched.items() if tick < first]:
            if self._touched.pop(item, first) < first:  # no other's end has touched or ended it
                self._late(item)
