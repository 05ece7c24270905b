"""The demo farm that options of homing-farm describe, where no farm.toml is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from homing.farm.config.demo import MOST_SERVERS, write_demo
from homing.farm.config.farm_toml import (
    RESUMPTION,
    SCHEMES,
    BalancerSection,
    FarmSection,
    SessionIdsSection,
)
from homing.farm.config.values import Endpoint
from homing.shared.errors import HomingError

SERVERS = 4

DEFAULTS = {
    "servers": str(SERVERS),
    "listen": BalancerSection().listen[0].description,
    "state-dir": FarmSection().state_dir,
    "scheme": SessionIdsSection().scheme,
    "resumption": SessionIdsSection().resumption,
}


@attrs.frozen
class DemoFarm:
    """A demo farm that makes sense."""

    folder: Path
    _servers: int
    _listen: Endpoint
    _scheme: str
    _resumption: str
    _relay: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The farm that the command line describes.  Raises HomingError."""
        said = {name: options[name] or default for name, default in DEFAULTS.items()}
        servers = said["servers"]
        if not servers.isdecimal() or not 0 < int(servers) <= MOST_SERVERS:
            raise HomingError(f"--servers {servers}: expected a number from 1 to {MOST_SERVERS}")
        for name, allowed in (("scheme", SCHEMES), ("resumption", RESUMPTION)):
            if said[name] not in allowed:
                raise HomingError(f"--{name} {said[name]}: expected one of {', '.join(allowed)}")
        try:
            listen = Endpoint.parse(said["listen"])
        except ValueError as error:
            raise HomingError(f"--listen {error}") from None
        folder = Path(said["state-dir"]).absolute()
        relay = bool(options["relay"])
        return cls(folder, int(servers), listen, said["scheme"], said["resumption"], relay)

    def write(self) -> Path:
        """Write its farm.toml; returns the path.  Raises HomingError, OSError."""
        return write_demo(
            self.folder,
            self._servers,
            self._listen,
            self._scheme,
            self._relay,
            resumption=self._resumption,
        )
