"""Deadlines for the other side that allow for pauses of this process.

A process that was stopped or swapped out, or whose machine was paused, finds its timers due before
it has read what came meanwhile.  To act on them would end connections that are well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

PAUSED = 0.5
"""Seconds by which a timer must be late for the process to have been paused."""

STALL_TIMEOUT = 30.0
"""Seconds after which a client that acknowledges nothing of what is sent counts as dead; the kernel
measures them (TCP_USER_TIMEOUT)."""

MOST_PAUSES = 5
"""How often a deadline starts again at most: a process that is always late must give up, too."""


class Clock(Protocol):
    """As much of a Twisted clock as a deadline needs."""

    def seconds(self) -> float:
        """The time."""

    def callLater(self, delay: float, function: Callable[[], Any], /) -> Any:
        """Call `function` in `delay` seconds; what is returned has `cancel`."""


class Deadline:
    """Calls `late` once, in `seconds` seconds, unless it is cancelled before.

    When the timer is more than `PAUSED` late, the whole time starts again.  `late` is called one
    turn of the reactor after the timer, so that what has come by then is read first.
    """

    def __init__(self, clock: Clock, seconds: float, late: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._late = late
        self._pauses = 0
        self._call: Any = None
        self._start()

    def cancel(self) -> None:
        """Do not call `late`; does nothing after it was called or cancelled."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _start(self) -> None:
        self._due = self._clock.seconds() + self._seconds
        self._call = self._clock.callLater(self._seconds, self._fire)

    def _fire(self) -> None:
        if not self._starts_again():
            self._call = self._clock.callLater(0, self._end)

    def _end(self) -> None:
        if not self._starts_again():  # the pause may have come in between
            self._call = None
            self._late()

    def _starts_again(self) -> bool:
        """Start again if this process has paused; returns whether it has."""
        paused = self._clock.seconds() - self._due > PAUSED and self._pauses < MOST_PAUSES
        if paused:
            self._pauses += 1
            self._start()
        return paused
