"""What the servers of a group own together, as the farm's state says.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.pages import in_bytes
from homing.shared.farm_state.values import Names
from homing.shared.farm_state.view import View
from homing.shared.part import Identifiers, Part
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import Locate


@attrs.frozen
class Owned:
    """The identifiers of some parts."""

    locate: Locate
    numbers: Collection[int]

    def __contains__(self, identifier: bytes, /) -> bool:
        return self.locate(identifier) in self.numbers


def of_group(
    view: View,
    group: str,
    scheme: Scheme,
    assign: Callable[[tuple[str, ...]], Mapping[str, Part]] | None,
) -> tuple[Identifiers, ...]:
    """The identifiers of all members of a group, and the exceptions that live there."""
    members = [name for name, wish in view.wishes.items() if wish.value.facts.group == group]
    own = [one for name in members if name in view.records for one in view.records[name].value.ids]
    farm = view.farm
    if farm is not None and scheme.locate is not None:
        numbers = frozenset().union(*(view.owned.get(name, ()) for name in members))
        return (*own, Owned(scheme.locate(farm.division), numbers), _exceptions(view, members))
    named: Names | None = view.single(keys.NAMES)
    parts = assign(named.names) if named is not None and assign is not None else {}
    return (*own, *(parts[name] for name in members if name in parts))


def _exceptions(view: View, members: Collection[str]) -> frozenset[bytes]:
    return frozenset(
        identifier
        for page, known in view.exceptions.items()
        if page.split("/")[1] in members
        for identifier in in_bytes(known.value.identifiers)
    )
