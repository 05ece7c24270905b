"""How a command looks at a farm, running or not, without changing anything."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from homing.farm.commands import parsing
from homing.farm.commands.operating.reaching import reach_at
from homing.farm.config.faults import printable
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import look
from homing.farm.present import Present, at_first_start, by_hand, in_registry
from homing.farm.registries import Place, place_of
from homing.server.ownership import must_be_ours_if_there
from homing.shared.errors import HomingError
from homing.shared.registry.interface import Batch, Registry, Unavailable
from homing.shared.registry.sqlite.database import NOTHING, Database

PATIENCE = 2.0
"""Seconds that a registry in etcd has to answer."""


def present(config: FarmConfig) -> Present:
    """The farm of a farm.toml as it is, if that can be found out, else as it will start.

    Says on standard error why not.  Raises HomingError, InvalidConfig among them.
    """
    place = place_of(config)
    if place is None:
        return by_hand(config, *look(config))
    look(config, lambda words: None)  # for faults of the file; a function is asked again below
    try:
        batch = _all_of(place)
    except HomingError as error:
        batch = None
        say(f"the registry cannot be read, so nobody knows here what has moved since: {error}")
    found = None if batch is None else in_registry(config, batch)
    return found or at_first_start(config)


def remark(present: Present) -> None:
    """Print the remarks on what was found."""
    for line in present.remarks:
        say(line)
    if files := present.made_later:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        say(f"The first start will make {files[0]}{more}: there are no identifiers of it yet.")


def say(line: str) -> None:
    """Print a line on standard error."""
    parsing.stderr().print(printable(line), soft_wrap=True)


def _all_of(place: Place) -> Batch | None:
    """All that the registry has; None where there is none yet.  Raises HomingError."""
    if place.file is None:
        return reach_at(place, _read)
    if not place.file.exists():
        return None
    database = Database(place.file, must_be_ours_if_there)
    try:
        found = database.changes(NOTHING)  # `read` would end the leases that are over
    finally:
        database.close()
    return None if found is None else found[1]


async def _read(reactor: Any, registry: Registry) -> Batch:
    return await Deferred.fromCoroutine(registry.read()).addTimeout(PATIENCE, reactor, _late)


def _late(_: object, seconds: float) -> Batch:
    raise Unavailable(f"no answer within {seconds:g} s")
