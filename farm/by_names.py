"""What servers have by a scheme that is a function: the registry has only their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from homing.farm.config.keys import Keys
from homing.farm.config.sections import FarmConfig
from homing.farm.plan import once_each, own_sets
from homing.shared.part import Part
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.base import Need, Request

ByNames = Callable[[tuple[str, ...]], Mapping[str, Part]]
"""What each of some servers has; it may raise HomingError."""


def by_names(
    config: FarmConfig, known: Collection[str] | None = None, keys: Keys | None = None
) -> ByNames:
    """Says what each of some servers has; `known` are those whose secrets may be read here.

    `keys` are the farm's secrets; by default those in its state folder.  Raises InvalidConfig.
    """
    scheme = SCHEMES[config.session_ids.scheme]
    occupied = tuple(one for sets in own_sets(config).values() for one in sets)
    secrets, report = keys or Keys(config.state_dir / "keys"), once_each()

    def assign(names: tuple[str, ...]) -> Mapping[str, Part]:
        if not names:
            return {}
        needs = tuple(map(Need, names))
        settings = config.session_ids.settings
        return scheme.assign(Request(needs, occupied, settings, secrets, known, report))

    return assign
