"""How long servers' assignments have been gone, as counted by one manager.  Pure.

No clock but the manager's own is trusted: after a change of manager the count begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable


class Absences:
    """Since when each assignment is gone; times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def look(self, owners: Iterable[str], assigned: Iterable[str], now: float) -> None:
        """These servers own something, and those have an assignment."""
        gone = set(owners).difference(assigned)
        self._since = {name: self._since.get(name, now) for name in gone}

    def changed(self, names: Iterable[str]) -> None:
        """These assignments came or went: one may have been there between two looks."""
        for name in names:
            self._since.pop(name, None)

    def over(self, lifetime: float, now: float) -> frozenset[str]:
        """The servers of which nothing lives: their assignment has been gone that long."""
        return frozenset(name for name, since in self._since.items() if now - since >= lifetime)
