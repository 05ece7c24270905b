"""What a server draws from, made of what the farm's state lets it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, Names, Record
from homing.shared.farm_state.view import View
from homing.shared.part import Part, Without
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import Division, limited

WHOLE = -2
"""The number of what is no part of a division: a server's own sets and what it has by function."""

_LASTS = 1 << 64
"""Of so many identifiers none is drawn twice by chance, and they never come to an end."""

ByNames = Callable[[tuple[str, ...]], Part]
"""What a server has by the scheme's function, where these servers are of the farm."""


_Like = tuple[Division, int | None, frozenset[bytes]]
"""What a part's identifiers follow from, besides its number."""


@attrs.define
class Drawing:
    """Makes parts of numbers; `by_names` is there where the scheme is a function.

    Parts are kept as they were made: those of some schemes take a thousand hashes each.
    """

    me: str
    scheme: Scheme
    by_names: ByNames | None = None
    _made: dict[int, tuple[_Like, Part]] = attrs.field(init=False, factory=dict)

    def lasts(self, view: View, farm: FarmValue) -> bool:
        """Whether one part of this server is enough to draw from for ever."""
        own = (view.parts[number].value for number in view.owned.get(self.me, ()))
        return self._size(farm) >= _LASTS and all(part.max_ids is None for part in own)

    def _size(self, farm: FarmValue) -> int:
        return self.scheme.cut(farm.division, 0).count() if self.scheme.cut else 0

    def parts(
        self, view: View, farm: FarmValue, numbers: Mapping[int, frozenset[bytes]]
    ) -> dict[int, Part]:
        """The parts of these numbers, without others' exceptions."""
        self._made = {
            number: self._kept_or_made(view, farm, number, exceptions)
            for number, exceptions in numbers.items()
        }
        return {number: part for number, (_, part) in self._made.items()}

    def part(self, view: View, farm: FarmValue, number: int) -> Part:
        """As much of a part as may be drawn."""
        return self._kept_or_made(view, farm, number, frozenset())[1]

    def _kept_or_made(
        self, view: View, farm: FarmValue, number: int, exceptions: frozenset[bytes]
    ) -> tuple[_Like, Part]:
        assert self.scheme.cut is not None
        division, known = farm.division, view.parts.get(number)
        like = division, None if known is None else known.value.max_ids, exceptions
        kept = self._made.get(number)
        if kept is not None and kept[0] == like:
            return kept
        part = limited(self.scheme.cut(division, number), like[1])
        return like, Without(part, exceptions) if exceptions else part

    def whole(self, view: View) -> dict[int, Part]:
        """What this server has without parts: its own record, or what the function says."""
        named: Names | None = view.single(keys.NAMES)
        if self.me in view.records:
            record: Record = view.records[self.me].value
            return dict(_numbered(record.ids))
        if named is not None and self.by_names is not None:
            return {WHOLE: self.by_names(named.names)}
        return {}


def _numbered(sets: Iterable[Part]) -> Iterable[tuple[int, Part]]:
    return ((WHOLE - place, one) for place, one in enumerate(sets))
