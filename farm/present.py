"""The farm as its registry has it, or as its first start will make it: for whoever only looks.

Nothing is written: keys of the scheme that are missing are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from homing.balancer.follower import Follower, Routes
from homing.balancer.management.manager import manage
from homing.farm import wishes
from homing.farm.by_names import by_names
from homing.farm.config.keys import Keys
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import Plan
from homing.farm.processes.inherited import with_lists
from homing.farm.status.reading import epoch
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ManagerPresence
from homing.shared.farm_state.view import View
from homing.shared.record import Record
from homing.shared.registry.interface import Batch
from homing.shared.registry.memory import MemoryRegistry
from homing.shared.schemes import SCHEMES

_MANAGER = ManagerPresence("first", "first")


@attrs.frozen
class Present:
    """What balancers route by, and where that is known from."""

    routes: Routes
    records: Mapping[str, Record]
    """What servers draw from by a function, by name; by hand, of all servers that have any."""
    source: str = ""
    """Behind the words "table 130"."""
    remarks: tuple[str, ...] = ()
    made_later: tuple[Path, ...] = ()
    """The key files that the first start will make."""


def by_hand(config: FarmConfig, plan: Plan, made_later: tuple[Path, ...]) -> Present:
    """A farm without a registry: every process works `plan` out of its copy of farm.toml."""
    servers = {one.name: wishes.facts(one) for one in with_lists(config).server}
    return Present(
        Routes(plan.table, servers, groups=plan.groups), plan.records, "", (), made_later
    )


def in_registry(config: FarmConfig, batch: Batch) -> Present | None:
    """The farm as `batch`, all that a registry has, says it; None where that is of no farm yet.

    Raises InvalidConfig.
    """
    remarks: list[str] = []
    view = View(remarks.append)
    view.apply(batch)
    if view.farm is None:
        return None
    remarks += _not_taken_over(config, view)
    return _routed(config, view, f", as the registry has it, epoch {epoch(view)}", remarks)


def at_first_start(config: FarmConfig) -> Present:
    """The farm as the first start will assign it.  Raises HomingError, InvalidConfig among them."""
    remarks: list[str] = []
    view = _assigned(config, remarks.append)
    return _routed(config, view, ", as the first start will assign it", remarks)


def _not_taken_over(config: FarmConfig, view: View) -> Iterator[str]:
    """What farm.toml wants, and the registry does not know of."""
    try:
        lacking = wishes.changes(with_lists(config), view)
    except HomingError as error:
        yield str(error)
        return
    if lacking:
        what = ("[session_ids]" if one == keys.FARM else keys.name(one) for one in lacking)
        yield (
            f"{config.path} has changed ({', '.join(what)}): the registry takes that over on "
            "SIGHUP, or when a balancer starts"
        )


def _assigned(config: FarmConfig, report: Callable[[str], None]) -> View:
    """The state of the farm once the first manager has nothing to do any more."""
    view, registry = View(report), MemoryRegistry(lambda: 0.0)
    scheme = SCHEMES[config.session_ids.scheme]
    due = [
        view.change({keys.MANAGER: _MANAGER}),
        *wishes.transactions(with_lists(config), view),
    ]
    while due:
        for one in due:
            registry.commit(one)
        view.apply(registry.read())
        due = list(manage(view, _MANAGER, scheme, frozenset(), report))
    return view


def _routed(config: FarmConfig, view: View, source: str, remarks: list[str]) -> Present:
    """What a balancer that follows `view` routes by."""
    section, made_up = config.balancer, list[Path]()
    assign = by_names(config, keys=Keys(config.state_dir / "keys", made_up))
    follower = Follower(assign, remarks.append, by_group=section.group_choice == "policy")
    routes = follower.follow(view, view.keys)
    routes = attrs.evolve(routes, table=attrs.evolve(routes.table, default=section.default_server))
    said, later = tuple(dict.fromkeys(remarks)), tuple(dict.fromkeys(made_up))
    return Present(routes, follower.by_function, source, said, later)
