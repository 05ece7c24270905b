"""A circuit breaker: a store that fails is not used, and probed ever more rarely.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from homing.shared.deadlines import Clock


class BreakerState(Enum):
    """Whether the store is used."""

    CLOSED = auto()
    """It is."""
    OPEN = auto()
    """It is not; a probe comes after a pause."""
    HALF_OPEN = auto()
    """It is not; a probe is under way."""


class BreakerEvent(Enum):
    """What may happen to a store."""

    FAILURE = auto()
    """An operation failed or hangs."""
    PAUSE_OVER = auto()
    PROBE_FAILURE = auto()
    PROBE_SUCCESS = auto()


_CLOSED, _OPEN, _HALF_OPEN = BreakerState
# fmt: off
NEXT: Mapping[tuple[BreakerState, BreakerEvent], BreakerState] = {
    (state, event): then
    for state, *row in (
        # State      FAILURE     PAUSE_OVER  PROBE_FAILURE PROBE_SUCCESS
        (_CLOSED,    _OPEN,      _CLOSED,    _OPEN,        _CLOSED),
        (_OPEN,      _OPEN,      _HALF_OPEN, _OPEN,        _OPEN),
        (_HALF_OPEN, _HALF_OPEN, _HALF_OPEN, _OPEN,        _CLOSED),
    )
    for event, then in zip(BreakerEvent, row, strict=True)
}
# fmt: on
"""At the start the store is probed while closed.  If the breaker opens meanwhile, the next probe
decides.  In half-open, a failure is that of an operation begun before the probe."""


class CircuitBreaker:
    """Begins closed; `probe` is called after a pause, and must lead to one of the PROBE events.

    `backoff` gives the pause, in seconds, after so many attempts.  Attempts count from 0 again only
    after the breaker was closed for `calm` seconds: a store that fails again at once is probed, and
    complained about, ever more rarely.  `now` never jumps; the timers of `clock` may.
    """

    def __init__(
        self,
        clock: Clock,
        probe: Callable[[], None],
        *,
        now: Callable[[], float],
        backoff: Callable[[int], float],
        calm: float,
    ) -> None:
        self.state = BreakerState.CLOSED
        self._clock = clock
        self._probe = probe
        self._now = now
        self._backoff = backoff
        self._calm = calm
        self._attempts = 0
        self._closed_at = float("-inf")
        self._pause: Any = None
        self._pause_ends = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the store is to be used."""
        return self.state is BreakerState.CLOSED

    def allows(self) -> bool:
        """Whether the store is to be used now.

        A pause that is over ends here, if its timer has not fired: the wall clock was put back.
        """
        if self._pause is not None and self._now() >= self._pause_ends:
            self._pause.cancel()
            self.happened(BreakerEvent.PAUSE_OVER)
        return self.is_closed

    def happened(self, event: BreakerEvent) -> bool:
        """Take note of `event`; whether the state is another now."""
        before, self.state = self.state, NEXT[self.state, event]
        if self.state is before:
            return False
        if self.state is BreakerState.HALF_OPEN:
            self._pause = None
            self._probe()
        elif self.state is BreakerState.CLOSED:
            self._closed_at = self._now()
        else:
            if before is BreakerState.CLOSED and self._now() - self._closed_at > self._calm:
                self._attempts = 0
            pause = self._backoff(self._attempts)
            self._pause_ends = self._now() + pause
            self._pause = self._clock.callLater(
                pause, lambda: self.happened(BreakerEvent.PAUSE_OVER)
            )
            self._attempts += 1
        return True

    def stop(self) -> None:
        """Probe no more."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
