"""The follower: the state in the registry becomes what a balancer routes by (Fig. 3, 308).  Pure.

What a batch does not touch is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf

import attrs

from homing.balancer.divided import Cutting, Divided, Owners
from homing.balancer.entries import Entries, Entry
from homing.balancer.own_sets import OwnSets, own_sets, without_overlaps
from homing.balancer.table import Table
from homing.shared.by_function import ByFunction
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, Names, ServerFacts, ServerState
from homing.shared.farm_state.view import View
from homing.shared.id_sets import parse_hex
from homing.shared.identifiers import padded
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division

Assign = Callable[[tuple[str, ...]], Mapping[str, Part]]
"""What each of these servers has by the farm's function.  It may raise HomingError."""


@attrs.frozen
class Routes:
    """All that a balancer follows; a value, so that a change is one assignment."""

    table: Table = attrs.field(factory=Table)
    """Its `epoch` is the revision of the last change that it depends on."""
    servers: Mapping[str, ServerFacts] = attrs.field(factory=dict)
    """Those of the farm, by name."""
    weights: Mapping[str, float] = attrs.field(factory=dict)
    draining: frozenset[str] = frozenset()
    """Those that get no clients by policy, only those whose identifiers are theirs."""
    groups: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """By owner, a group or a member of one: the servers that know its sessions."""


class Follower:
    """Makes `routes` out of a view.

    `assign` is asked where the farm's scheme is a function.  With `by_group` the table names the
    group of a server that has one.  `report` is called with a line for each value that contradicts
    others: it is left out.
    """

    def __init__(
        self, assign: Assign, report: Callable[[str], None], *, by_group: bool = False
    ) -> None:
        self.routes = Routes()
        self._assign = assign
        self._report = report
        self._by_group = by_group
        self._group_of: Mapping[str, str] = {}
        self._divided: Divided | None = None
        self._by_function: tuple[Entry, ...] = ()
        self._own: OwnSets = ()
        self._entries = Entries()

    def follow(self, view: View, changed: Collection[str]) -> Routes:
        """What to route by, now that these keys have changed in `view`.

        When the farm's keys have changed, `keys.NAMES` stands for that.
        """
        folders = {key.partition("/")[0] for key in changed}
        parts, pages = numbers_in(changed, "parts"), numbers_in(changed, "exceptions")
        if self._follow_servers(view, folders) | self._follow_farm(view, folders):
            parts = set(view.parts)
            pages = numbers_in((f"exceptions/{page}" for page in view.exceptions), "exceptions")
        if folders & {keys.FARM, keys.NAMES, "records", "wishes"}:
            self._follow_entries(view, folders)
        if self._divided is not None and (parts or pages):
            owners = self._owners(view, parts)
            self._divided = self._divided.changed(owners, self._exceptions(view, pages))
        table = Table(self._entries, None, view.routing, self._divided)
        self.routes = attrs.evolve(self.routes, table=table)
        return self.routes

    @property
    def by_function(self) -> dict[str, Record]:
        """What servers have by the farm's function."""
        parts = [entry.part for entry in self._by_function]
        return {one.owner: Record((one,)) for one in parts if isinstance(one, ByFunction)}

    def _follow_servers(self, view: View, folders: set[str]) -> bool:
        """Take the servers over; whether the owners of all parts have to be looked at again."""
        if not folders & {"wishes", "refusals"}:
            return False
        wishes = {
            name: known.value
            for name, known in sorted(view.wishes.items())
            if known.value.state is not ServerState.GONE and name not in view.refusals
        }
        groups = _groups({name: wish.facts.group for name, wish in wishes.items()})
        self.routes = attrs.evolve(
            self.routes,
            servers={name: wish.facts for name, wish in wishes.items()},
            weights={name: self._weight(name, wish.weight) for name, wish in wishes.items()},
            draining=frozenset(
                name for name, wish in wishes.items() if wish.state is not ServerState.ACTIVE
            ),
            groups=groups,
        )
        before = self._group_of
        if self._by_group:
            self._group_of = {
                name: wish.facts.group for name, wish in wishes.items() if wish.facts.group
            }
        return self._group_of != before

    def _weight(self, name: str, weight: float) -> float:
        if 0 < weight < inf:
            return weight
        self._report(f"the weight {weight} of {name} is ignored: it must be above 0")
        return 1.0

    def _follow_farm(self, view: View, folders: set[str]) -> bool:
        """Cut the arena as the farm does; whether that is another way than before."""
        if keys.FARM not in folders:
            return False
        try:
            cutting = _cutting(view.farm)
        except ValueError as error:
            self._report(f"the registry's 'farm' is ignored: {error}")
            return False
        if cutting == (self._divided and self._divided.cutting):
            return False
        self._divided = None if cutting is None else Divided.spare(cutting)
        return True

    def _follow_entries(self, view: View, folders: set[str]) -> None:
        """Take over what servers brought themselves, and what they have by function."""
        own, before = own_sets(view), (self._own, self._by_function)
        if folders & {keys.FARM, keys.NAMES} or self._group_of:
            self._ask_function(view)
        if (own, self._by_function) == before and keys.FARM not in folders:
            return
        self._own = own
        arena = None if self._divided is None else self._divided.cutting.division.arena
        kept, faults = without_overlaps(own, arena)
        for fault in faults:
            self._report(fault)
        sets = (Entry(name, one) for name, sets in kept for one in sets)
        self._entries = Entries((*self._by_function, *sets))

    def _ask_function(self, view: View) -> None:
        names: Names | None = view.single(keys.NAMES)
        if names is None or self._divided is not None:
            self._by_function = ()
            return
        try:
            parts = self._assign(names.names)
        except HomingError as error:
            self._report(f"identifiers are routed by the names as before: {error}")
            return
        self._by_function = tuple(Entry(self._owner(name), part) for name, part in parts.items())

    def _owner(self, name: str) -> str:
        return self._group_of.get(name, name)

    def _owners(self, view: View, numbers: set[int]) -> Owners:
        assert self._divided is not None
        count = self._divided.cutting.division.count
        owners: dict[int, str | None] = {}
        for number in numbers:
            known = view.parts.get(number)
            if number < count:
                owners[number] = None if known is None else self._owner(known.value.owner)
            elif known is not None:
                self._report(f"part {number} is ignored: the farm has {count}")
        return owners

    def _exceptions(self, view: View, numbers: set[int]) -> dict[int, dict[bytes, str]]:
        """All exceptions in these parts."""
        found: dict[int, dict[bytes, str]] = {number: {} for number in numbers}
        for name, page in sorted(view.exceptions.items() if numbers else ()):
            number, server = keys.part_of_page(f"exceptions/{name}")
            if number not in found:
                continue
            try:
                for identifier in page.value.identifiers:
                    found[number][padded(parse_hex(identifier))] = server
            except ValueError as error:
                self._report(f"the rest of the exceptions {name} is ignored: {error}")
        return found


def numbers_in(changed: Iterable[str], folder: str) -> set[int]:
    """The parts that these keys are about, as far as they are in a folder."""
    found = set()
    for key in changed:
        first, _, rest = key.partition("/")
        number = rest.partition("/")[0]
        if first == folder and number.isascii() and number.isdecimal():
            found.add(int(number))
    return found


def _cutting(farm: FarmValue | None) -> Cutting | None:
    """How the farm cuts its arena; None where it has none.  Raises ValueError."""
    if farm is None:
        return None
    scheme = SCHEMES.get(farm.scheme)
    if scheme is None:
        raise ValueError(f"the scheme {farm.scheme!r:.50} is not known in this version")
    if scheme.cut is None:
        return None
    return Cutting(scheme, Division(bytes.fromhex(farm.prefix), farm.bits))


def _groups(group_of: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    """The members of each group, by its name and by that of each of them."""
    members: dict[str, tuple[str, ...]] = {}
    for name, group in group_of.items():
        if group is not None:
            members[group] = (*members.get(group, ()), name)
    return members | {name: members[group] for name, group in group_of.items() if group is not None}
