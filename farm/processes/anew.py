"""A farm that starts with another scheme than it had before begins with an empty registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from homing.farm.config.faults import CannotStart
from homing.farm.config.sections import FarmConfig
from homing.farm.registries import place_of
from homing.server.ownership import must_be_ours_if_there
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import RegistryError
from homing.shared.registry.sqlite.database import Database

PATIENCE = 8.0
"""Seconds to wait for the end of processes: who was killed is known to be gone after 6."""

_PAUSE = 0.1


def begin_anew(
    config: FarmConfig, waits: Callable[[str], None], patience: float = PATIENCE
) -> str | None:
    """Forget the farm's state if it is of another scheme; returns that scheme's name if so.

    To be called by who has the lock of the state folder, while no reactor runs.  When servers or
    balancers are still there, `waits` is called with a message, and their end is waited for.
    Raises CannotStart when they stay, OSError when what balancers have saved cannot be removed.
    """
    place = place_of(config)
    if place is None or place.file is None or not place.file.exists():
        return None
    database = Database(place.file, must_be_ours_if_there)
    try:
        before = _scheme(database)
        if before is None or before == config.session_ids.scheme:
            return None
        _wait_until_alone(database, before, waits, patience)
        for saved in config.state_dir.glob("table-*"):  # first: balancers put back what they know
            saved.unlink(missing_ok=True)
        database.begin_anew()
    except RegistryError:
        return None  # the balancer, whose registry it is, says so
    finally:
        database.close()
    return before


def _scheme(database: Database) -> str | None:
    farm = _view(database).farm
    return None if farm is None else farm.scheme


def _view(database: Database) -> View:
    view = View()
    view.apply(database.read())
    return view


def _wait_until_alone(
    database: Database, scheme: str, waits: Callable[[str], None], patience: float
) -> None:
    deadline, told = time.monotonic() + patience, False
    while there := _names(_view(database)):
        words = f'the farm runs by the scheme "{scheme}", and {", ".join(there)} are still there'
        if time.monotonic() > deadline:
            raise CannotStart(f"{words}: stop them first, or use another state_dir")
        if not told:
            told = True
            waits(f"{words}; waiting up to {patience:g} s for their end")
        time.sleep(_PAUSE)


def _names(view: View) -> Sequence[str]:
    return sorted({*view.servers, *view.balancers})
