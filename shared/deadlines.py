"""Deadlines that do not hold it against others when this very process stood still.

A process that was stopped, swapped out or on a paused machine finds its timers due before it has
read what came meanwhile.  To act on them would end what is well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

PAUSED = 0.5
"""Seconds by which a timer must be late for the process to have been paused."""

STALL_TIMEOUT = 30.0
"""Seconds after which a client that takes nothing of what is sent is taken for dead; the kernel
counts them (TCP_USER_TIMEOUT)."""

_MOST_PAUSES = 5
"""So often a deadline starts again: a process that is always late must give up, too."""


class Clock(Protocol):
    """As much of a Twisted clock as a deadline needs."""

    def seconds(self) -> float:
        """The time."""

    def callLater(self, delay: float, function: Callable[[], Any], /) -> Any:
        """Call `function` in `delay` seconds; what is returned has `cancel`."""


class Deadline:
    """Calls `late` once, in `seconds` seconds, unless it is cancelled before.

    When the timer itself is more than `PAUSED` late, the whole time starts again.  And `late` is
    called a turn of the reactor after the timer: what has come by then is read first.
    """

    def __init__(self, clock: Clock, seconds: float, late: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._late = late
        self._pauses = 0
        self._call: Any = None
        self._start()

    def cancel(self) -> None:
        """Never call `late`; does nothing where that is over."""
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
        """Start anew after a pause; whether there was one."""
        paused = self._clock.seconds() - self._due > PAUSED and self._pauses < _MOST_PAUSES
        if paused:
            self._pauses += 1
            self._start()
        return paused
