"""How long to leave a dead store alone."""

from __future__ import annotations

import attrs


@attrs.define
class Pauses:
    """Pauses between attempts: each twice the one before, up to the longest.

    They start again at the shortest only after the store was well for `longest` seconds, so that
    one which dies at once, again and again, is asked, and complained about, ever more rarely.
    """

    shortest: float = 0.1
    longest: float = 10.0
    _next: float = attrs.field(init=False)
    _back_at: float = attrs.field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self._next = self.shortest

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        pause = self._next
        self._next = min(2 * pause, self.longest)
        return pause

    def died(self, now: float) -> None:
        """The store failed at `now`, in seconds."""
        if now - self._back_at > self.longest:
            self._next = self.shortest

    def back(self, now: float) -> None:
        """The store answers again since `now`."""
        self._back_at = now
