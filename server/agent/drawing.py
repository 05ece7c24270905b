"""What a server draws from, made of what the farm's state lets it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, Names, Record
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdSet
from homing.shared.part import Part, Without
from homing.shared.schemes import SCHEMES
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
    """Makes parts of numbers, as the farm's scheme cuts them.

    `by_names` is what this server knows of the scheme `scheme`, if that is a function.  Parts are kept as they were made: those of some schemes take a thousand hashes each.
    """

    me: str
    scheme: str
    by_names: ByNames | None = None
    _made: dict[int, tuple[_Like, Part]] = attrs.field(init=False, factory=dict)

    def has_parts(self, farm: FarmValue) -> bool:
        """Whether the farm's identifiers are cut into parts."""
        return farm.scheme in SCHEMES and SCHEMES[farm.scheme].cut is not None

    def lasts(self, view: View, farm: FarmValue) -> bool:
        """Whether one part of this server is enough to draw from for ever."""
        own = (view.parts[number].value for number in view.owned.get(self.me, ()))
        return self._size(farm) >= _LASTS and all(part.max_ids is None for part in own)

    def _size(self, farm: FarmValue) -> int:
        return _cut(farm, 0).count()

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
        division, known = farm.division, view.parts.get(number)
        like = division, None if known is None else known.value.max_ids, exceptions
        kept = self._made.get(number)
        if kept is not None and kept[0] == like:
            return kept
        part = limited(_cut(farm, number), like[1])
        return like, Without(part, exceptions) if exceptions else part

    def whole(self, view: View) -> dict[int, Part]:
        """What this server has without parts: its own record, or what the function says.

        Raises HomingError when it does not know the function.
        """
        named: Names | None = view.single(keys.NAMES)
        if self.me in view.records:
            record: Record = view.records[self.me].value
            return dict(_numbered(record.ids))
        if named is None or view.farm is None:
            return {}
        if self.by_names is None or view.farm.scheme != self.scheme:
            raise HomingError(
                f'the farm runs by the scheme "{view.farm.scheme}": start this server with a '
                f'farm.toml that says so, in [session_ids]; now it is "{self.scheme}"'
            )
        return {WHOLE: self.by_names(named.names)}


def _cut(farm: FarmValue, number: int) -> IdSet:
    cut = SCHEMES[farm.scheme].cut
    assert cut is not None
    return cut(farm.division, number)


def _numbered(sets: Iterable[Part]) -> Iterable[tuple[int, Part]]:
    return ((WHOLE - place, one) for place, one in enumerate(sets))
