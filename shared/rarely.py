"""Log lines about what may happen a thousand times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 60.0
"""Seconds between two lines about the same thing."""


class Rarely:
    """Calls `say` with how often something happened: at the first time, then once a pause."""

    def __init__(self, say: Callable[[int], None], pause: float = PAUSE) -> None:
        self._say = say
        self._pause = pause
        self._count = 0
        self._quiet_until = float("-inf")

    def happened(self) -> None:
        """It happened once more."""
        self._count += 1
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + self._pause
            count, self._count = self._count, 0
            self._say(count)
