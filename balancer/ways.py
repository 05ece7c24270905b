"""How a balancer reaches a server."""

from __future__ import annotations

from collections.abc import Callable

from homing.balancer.data_planes.relay import RelayOptions
from homing.shared.farm_state.values import ServerFacts

Way = str | RelayOptions
"""The path of a UNIX socket, for hand-off, or how to relay."""

To = Callable[[str, ServerFacts], Way]
"""The way to a server, by its name and what the registry says.  Raises ValueError if its address is
none, and HomingError."""
