"""What a server draws from, made of what the farm's state lets it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


NONE: frozenset[bytes] = frozenset()


@attrs.frozen
class Portion:
    """What is drawn of a part, told without making it: that takes long where it is a list."""

    scheme: str
    division: Division
    number: int
    most: int | None = None
    """Identifiers, the lowest; None: all."""
    exceptions: frozenset[bytes] = NONE

    def whole(self) -> IdSet:
        """The part as the scheme cuts it."""
        cut = SCHEMES[self.scheme].cut
        assert cut is not None
        return cut(self.division, self.number)

    def made(self) -> Part:
        """What may be drawn."""
        part = limited(self.whole(), self.most)
        return Without(part, self.exceptions) if self.exceptions else part


@attrs.frozen
class Drawing:
    """Says what is drawn, by the farm's scheme.

    `by_names` is what this server knows of the scheme `scheme`, if that is a function.
    """

    me: str
    scheme: str
    by_names: ByNames | None = None

    def has_parts(self, farm: FarmValue) -> bool:
        """Whether the farm's identifiers are cut into parts."""
        return farm.scheme in SCHEMES and SCHEMES[farm.scheme].cut is not None

    def lasts(self, view: View, farm: FarmValue) -> bool:
        """Whether one part of this server is enough to draw from for ever."""
        own = (view.parts[number].value for number in view.owned.get(self.me, ()))
        size = Portion(farm.scheme, farm.division, 0).whole().count()
        return size >= _LASTS and all(part.max_ids is None for part in own)

    def portion(
        self, view: View, farm: FarmValue, number: int, exceptions: frozenset[bytes] = NONE
    ) -> Portion:
        """As much of a part as may be drawn, without others' exceptions."""
        known = view.parts.get(number)
        most = None if known is None else known.value.max_ids
        return Portion(farm.scheme, farm.division, number, most, exceptions)

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


def _numbered(sets: Iterable[Part]) -> Iterable[tuple[int, Part]]:
    return ((WHOLE - place, one) for place, one in enumerate(sets))
