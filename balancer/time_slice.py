"""How long one turn of the reactor may work on new connections before others have their turn."""

from __future__ import annotations

from homing.shared.deadlines import Clock

BUDGET = 0.002
"""Seconds."""


class TimeSlice:
    """After `BUDGET` seconds of work, `begin` says no until the next turn of the reactor.

    Sockets that were not looked at are reported again: epoll is level-triggered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now = 0.0
        """When the present piece of work began, by the clock."""
        self._spent = 0.0
        self._over = False

    def begin(self) -> bool:
        """Whether there is time for a piece of work, which then begins now."""
        if not self._over:
            self.now = self._clock.seconds()
        return not self._over

    def end(self) -> None:
        """The piece of work is done."""
        self.goes_on()

    def goes_on(self) -> bool:
        """A piece of work is done; whether there is time for another, which then begins now."""
        now = self._clock.seconds()
        if now > self.now:
            self._spent += now - self.now
        self.now = now
        if self._spent >= BUDGET:
            self._over = True
            self._clock.callLater(0, self._next)
        return not self._over

    def _next(self) -> None:
        self._spent, self._over = 0.0, False
