"""What a server draws from, made of what the farm's state lets it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from homing.server.agent.duties import PartSize
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, Names, Record
from homing.shared.farm_state.view import View
from homing.shared.part import Part, Without
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import limited

WHOLE = -2
"""The number of what is no part of a division: a server's own sets and what it has by function."""

_LASTS = 1 << 64
"""Of so many identifiers none is drawn twice by chance, and they never come to an end."""

ByNames = Callable[[tuple[str, ...]], Part]
"""What a server has by the scheme's function, where these servers are of the farm."""


@attrs.define
class Drawing:
    """Makes parts of numbers; `by_names` is there where the scheme is a function."""

    me: str
    scheme: Scheme
    by_names: ByNames | None = None
    _made: dict[tuple[int, int | None], Part] = attrs.field(init=False, factory=dict)
    """Parts by number and limit, as some take long to make."""

    def size(self, view: View, farm: FarmValue, used_up: bool) -> PartSize:
        """How far the parts of this server go, where those that it draws from are `used_up`."""
        own = (view.parts[number].value for number in view.owned.get(self.me, ()))
        size = self.scheme.cut(farm.division, 0).count() if self.scheme.cut else 0
        if size >= _LASTS and all(part.max_ids is None for part in own):
            return PartSize.LASTS
        return PartSize.USED_UP if used_up else PartSize.SMALL

    def parts(
        self, view: View, farm: FarmValue, numbers: Mapping[int, frozenset[bytes]]
    ) -> dict[int, Part]:
        """The parts of these numbers, without others' exceptions."""
        own = view.owned.get(self.me, ())
        self._made = {key: part for key, part in self._made.items() if key[0] in own}
        found: dict[int, Part] = {}
        for number, exceptions in numbers.items():
            part = self.part(view, farm, number)
            found[number] = Without(part, exceptions) if exceptions else part
        return found

    def part(self, view: View, farm: FarmValue, number: int) -> Part:
        """As much of a part as may be drawn."""
        assert self.scheme.cut is not None
        known = view.parts.get(number)
        most = None if known is None else known.value.max_ids
        if (number, most) not in self._made:
            self._made[number, most] = limited(self.scheme.cut(farm.division, number), most)
        return self._made[number, most]

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
