"""Whether a relayed server gets connections, by what came of connecting and of probing; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class ServerHealth(Enum):
    """What is thought of a relayed server."""

    DOWN = "it cannot be reached"
    UP = "it gets connections"
    DOUBTED = "it gets connections, but the last probe failed"
    SHUT_OUT = "it gets none until a probe succeeds, though it may be reached"


class ProbeEvent(Enum):
    """What happens to a relayed server."""

    REACHED = "a TCP connection to it came about"
    UNREACHED = "a client's connection to it did not"
    ANSWERED = "it answered a probe as a TLS server does"
    FAILED = "it refused a probe, or did not answer in time"
    IMPOSTOR = "its certificate is not the one that farm.toml asks for"


UP = frozenset({ServerHealth.UP, ServerHealth.DOUBTED})
"""The states in which it gets connections."""


def _stays(state: ServerHealth) -> dict[ProbeEvent, ServerHealth]:
    """What all states have in common."""
    return dict.fromkeys(ProbeEvent, state) | {
        ProbeEvent.ANSWERED: ServerHealth.UP,
        ProbeEvent.IMPOSTOR: ServerHealth.SHUT_OUT,
    }


_LOST = {ProbeEvent.UNREACHED: ServerHealth.DOWN}

TRANSITIONS: Mapping[ServerHealth, Mapping[ProbeEvent, ServerHealth]] = {
    ServerHealth.DOWN: _stays(ServerHealth.DOWN) | {ProbeEvent.REACHED: ServerHealth.UP},
    ServerHealth.UP: _stays(ServerHealth.UP) | _LOST | {ProbeEvent.FAILED: ServerHealth.DOUBTED},
    ServerHealth.DOUBTED: _stays(ServerHealth.DOUBTED)
    | _LOST
    | {ProbeEvent.FAILED: ServerHealth.SHUT_OUT},
    ServerHealth.SHUT_OUT: _stays(ServerHealth.SHUT_OUT),
}
"""The state that follows; every event is answered in every state.

A hung server's kernel still accepts: so what has failed two probes is not up again for being
reached.
"""
