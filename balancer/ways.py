"""How a balancer reaches a server, made of the address that the registry has of it."""

from __future__ import annotations

from pathlib import Path

import attrs

from homing.balancer.data_planes.relay import RelayOptions
from homing.shared.addresses import split_host_and_port
from homing.shared.farm_state.values import ServerFacts

Way = str | RelayOptions
"""The path of a UNIX socket, for hand-off, or how to relay."""


@attrs.frozen
class Ways:
    """What is common to all ways of a farm."""

    folder: Path
    """What the paths of UNIX sockets are relative to."""
    connect_timeout: float
    idle_timeout: float

    def to(self, facts: ServerFacts) -> Way:
        """The way to a server.  Raises ValueError when its address is none."""
        kind, _, rest = facts.address.partition(":")
        if kind == "unix" and rest and "\0" not in rest and facts.managed:
            return str(self.folder / rest)
        if kind != "tcp":
            raise ValueError(f"{facts.address!r:.100} is not unix:PATH or tcp:HOST:PORT")
        host, port = split_host_and_port(rest)
        return RelayOptions(
            host=host,
            port=port,
            learn_ids=not facts.managed and facts.ids is None,
            proxy_protocol=facts.proxy_protocol,
            connect_timeout=self.connect_timeout,
            idle_timeout=self.idle_timeout,
        )
