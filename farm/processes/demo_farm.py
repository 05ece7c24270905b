"""The demo farm that options of homing farm describe, where no farm.toml is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from homing.farm.config.demo import MOST_SERVERS, write_demo
from homing.farm.config.sections import (
    MOST_WORKERS,
    RESUMPTION,
    BalancerSection,
    FarmSection,
    SessionIdsSection,
)
from homing.farm.config.values import Endpoint
from homing.farm.processes.descriptors import usable_cores
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES

SERVERS = 4

DEFAULTS = {
    "servers": str(SERVERS),
    "listen": BalancerSection().listen[0].description,
    "state-dir": FarmSection().state_dir,
    "scheme": SessionIdsSection().scheme,
    "resumption": SessionIdsSection().resumption,
    "workers": str(min(usable_cores(), 4)),
}


def demo_farm(options: Mapping[str, Any]) -> tuple[Path, Callable[[], Path]]:
    """The state folder that the options name, and a function that writes the farm.toml there.

    Raises HomingError; the function raises OSError too.
    """
    said = {name: options[name] or default for name, default in DEFAULTS.items()}
    servers, scheme, resumption = (said[name] for name in ("servers", "scheme", "resumption"))
    if not servers.isdecimal() or not 0 < int(servers) <= MOST_SERVERS:
        raise HomingError(f"--servers {servers}: expected a number from 1 to {MOST_SERVERS}")
    workers = said["workers"]
    if not workers.isdecimal() or not 0 < int(workers) <= MOST_WORKERS:
        raise HomingError(f"--workers {workers}: expected a number from 1 to {MOST_WORKERS}")
    for name, allowed in (("scheme", SCHEMES), ("resumption", RESUMPTION)):
        if said[name] not in allowed:
            raise HomingError(f"--{name} {said[name]}: expected one of {', '.join(allowed)}")
    try:
        listen = Endpoint.parse(said["listen"])
    except ValueError as error:
        raise HomingError(f"--listen {error}") from None
    folder, relay = Path(said["state-dir"]).absolute(), bool(options["relay"])
    write = partial(
        write_demo,
        folder,
        int(servers),
        listen,
        scheme,
        relay,
        resumption=resumption,
        workers=int(workers),
    )
    return folder, write
