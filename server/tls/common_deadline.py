"""One deadline for many that wait equally long.  Pure."""

from __future__ import annotations

from typing import Any, Protocol

from homing.shared.deadlines import MOST_PAUSES, PAUSED, Clock


class Waiting(Protocol):
    """Who waits."""

    def late(self) -> None:
        """Called when the time is over."""


class CommonDeadline:
    """Tells those that wait when they have waited for `seconds`; who began first is late first.

    It takes one timer for all: to begin and to end cost next to nothing.  As with `Deadline`, the
    whole time starts again, for all, when this process has paused, and who is late is told one turn
    of the reactor after the timer.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: dict[Waiting, float] = {}
        """When each is late, in order."""
        self._pauses = 0
        self._timer_at: float | None = None
        self._call: Any = None

    def begin(self, one: Waiting) -> None:
        """Let `one`, which does not wait, be late in `seconds`."""
        self._waiting[one] = at = self._clock.seconds() + self._seconds
        if self._timer_at is None:
            self._start_timer(at)

    def end(self, one: Waiting) -> None:
        """It waits no longer, if it did."""
        self._waiting.pop(one, None)

    def stop(self) -> None:
        """Leave no timer: who waits is forgotten."""
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = self._timer_at = None

    def _start_timer(self, at: float) -> None:
        self._timer_at = at
        self._call = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._fire)

    def _fire(self) -> None:
        if not self._starts_again():
            self._call = self._clock.callLater(0, self._tell)

    def _tell(self) -> None:
        self._call = None
        if self._starts_again():  # the pause may have come in between
            return
        now = self._clock.seconds()
        self._pauses = 0
        self._timer_at = now  # so that who begins meanwhile starts none
        try:
            for one in [one for one, at in self._waiting.items() if at <= now]:
                if self._waiting.pop(one, None) is not None:
                    one.late()
        finally:  # when one fails, the others have their time all the same
            self._timer_at = None
            if self._waiting:
                self._start_timer(next(iter(self._waiting.values())))

    def _starts_again(self) -> bool:
        now = self._clock.seconds()
        assert self._timer_at is not None
        if now - self._timer_at <= PAUSED or self._pauses == MOST_PAUSES:
            return False
        self._pauses += 1
        self._waiting = dict.fromkeys(self._waiting, now + self._seconds)
        self._start_timer(now + self._seconds)
        return True
