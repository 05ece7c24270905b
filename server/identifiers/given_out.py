"""What a server has given out, part by part, and until when it lives.  Pure.

A part can leave its owner only with this knowledge.  Drawing adds an entry to a window, some
minutes long; windows are dropped as a whole, so that drawing looks nothing through.
"""

from __future__ import annotations

from collections import deque

import attrs

from homing.shared.farm_state.values import Live

_WINDOWS = 32
"""Windows in a lifetime: what was given out counts as alive for a 32nd too long at most."""

MOST_LISTED = 1 << 16
"""Identifiers that are remembered at most, some 160 bytes each."""


@attrs.define(eq=False)
class _Window:
    closes: float
    end: float
    """When the last that was given out in it expires."""
    count: int = 0
    identifiers: dict[bytes, int] | None = attrs.field(factory=dict)
    """How often each was given out: two tickets may have one key name.  None: only counted."""


class GivenOut:
    """Identifiers given out, of numbered parts, each for `lifetime`; times are in seconds.

    If more than `most` live, the oldest of the part that has most are only counted.  Counts are
    never too low.
    """

    def __init__(self, lifetime: float, most: int = MOST_LISTED) -> None:
        self._lifetime = lifetime
        self._most = most
        self._parts: dict[int, deque[_Window]] = {}
        self._listed = 0

    def note(self, part: int, identifier: bytes, now: float) -> None:
        """An identifier of a part is given out."""
        windows = self._parts.get(part)
        if not windows or now >= windows[-1].closes:
            windows = self._new_window(part, now)
        window = windows[-1]
        window.end = now + self._lifetime
        window.count += 1
        identifiers = window.identifiers
        if identifiers is not None:
            identifiers[identifier] = identifiers.get(identifier, 0) + 1
            self._listed += 1
            if self._listed > self._most:
                self._make_room(now)

    def note_unknown(self, part: int, now: float) -> None:
        """What lives of a part is not known: it was given out before a restart."""
        window = self._new_window(part, now)[-1]
        window.identifiers = None
        window.closes = now

    def take_back(self, identifier: bytes) -> None:
        """Forget an identifier that reached no client.

        Of several of one name the oldest is forgotten: the one that a client has stays long enough.
        None is forgotten where the oldest may be one that is only counted.
        """
        for windows in self._parts.values():
            for window in windows:
                if window.identifiers is None:
                    break
                if identifier in window.identifiers:
                    _take_one(window.identifiers, identifier)
                    window.count -= 1
                    self._listed -= 1
                    if not window.count:
                        windows.remove(window)
                    return

    def live(self, part: int, now: float) -> Live:
        """How many sessions of a part live, and for how long yet."""
        windows = self._alive(part, now)
        if not windows:
            return Live(part, 0, 0.0)
        return Live(part, sum(window.count for window in windows), windows[-1].end - now)

    def listing(self, part: int, now: float) -> tuple[bytes, ...] | None:
        """The identifiers of a part that live, each once; None: not all are listed."""
        found: dict[bytes, int] = {}
        for window in self._alive(part, now):
            if window.identifiers is None:
                return None
            found |= window.identifiers
        return tuple(found)

    def sessions(self, now: float) -> int:
        """How many sessions live in all parts."""
        return sum(window.count for part in list(self._parts) for window in self._alive(part, now))

    def parts(self, now: float) -> frozenset[int]:
        """The parts of which something lives."""
        return frozenset(part for part in list(self._parts) if self._alive(part, now))

    def _new_window(self, part: int, now: float) -> deque[_Window]:
        windows = self._alive(part, now)
        windows.append(_Window(now + self._lifetime / _WINDOWS, now + self._lifetime))
        self._parts[part] = windows
        return windows

    def _alive(self, part: int, now: float) -> deque[_Window]:
        """The windows of a part in which something may live; the others are dropped."""
        windows = self._parts.get(part, deque())
        while windows and windows[0].end <= now:
            self._forget(windows.popleft())
        if not windows:
            self._parts.pop(part, None)
        return windows

    def _make_room(self, now: float) -> None:
        for part in list(self._parts):
            self._alive(part, now)
        if self._listed > self._most:
            largest = max(self._parts.values(), key=lambda windows: sum(map(_listed_in, windows)))
            self._forget(next(filter(_listed_in, largest)))

    def _forget(self, window: _Window) -> None:
        self._listed -= _listed_in(window)
        window.identifiers = None


def _listed_in(window: _Window) -> int:
    return window.count if window.identifiers is not None else 0


def _take_one(counts: dict[bytes, int], identifier: bytes) -> None:
    counts[identifier] -= 1
    if not counts[identifier]:
        del counts[identifier]
