"""Parts that a server has closed, though the registry may not say so yet.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from homing.shared.farm_state.view import View


class GivenUp:
    """The parts of which a transaction says that they are drawn from no more.

    Such a transaction may take effect long after its answer was lost.  So the part stays closed
    until its value changes.  With every assignment a server begins anew.
    """

    def __init__(self) -> None:
        self._revisions: dict[int, int] = {}

    def add(self, view: View, numbers: Iterable[int]) -> None:
        """Such transactions are made now."""
        self._revisions = {
            number: revision
            for number, revision in self._revisions.items()
            if self._revision(view, number) == revision
        } | {number: self._revision(view, number) for number in numbers}

    def includes(self, view: View, number: int) -> bool:
        """Whether such a transaction may still take effect."""
        return self._revisions.get(number) == self._revision(view, number)

    def _revision(self, view: View, number: int) -> int:
        known = view.parts.get(number)
        return 0 if known is None else known.revision
