"""Parts that leave this server at a given time, until when clients get other identifiers.  Pure.

Patent, p. 9: "During this time, servers 102 must re-negotiate with their clients 106 changing of
session IDs to be confiscated."
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from homing.shared.part import Part


@attrs.frozen
class Leaving:
    """Parts, and the time in seconds at which each has left."""

    parts: tuple[tuple[Part, float], ...] = ()

    @classmethod
    def within(cls, parts: Mapping[int, tuple[Part, float]], now: float) -> Leaving:
        """Numbered parts that leave in so many seconds each."""
        return cls(tuple((part, now + seconds) for part, seconds in parts.values()))

    def time(self, identifier: bytes) -> float | None:
        """When the part that an identifier is of leaves; None: it stays."""
        return next((at for part, at in self.parts if identifier in part), None)
