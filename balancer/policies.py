"""Policies: which server gets a connection that no identifier sends anywhere.

Fig. 2, step 210: "load balancing methods known in the art, for example, according to the source IP
address of the packet and/or using round robin and/or hashing methods".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import attrs

from homing.shared.part import Randbelow


class Policy(Protocol):
    """Chooses among servers."""

    def choose(self, servers: Sequence[str], source: str) -> str:
        """One of `servers`, at least one, for a client whose IP address is `source`."""


@attrs.define
class RoundRobin:
    """One after the other."""

    _turn: int = 0

    def choose(self, servers: Sequence[str], source: str) -> str:
        self._turn += 1
        return servers[(self._turn - 1) % len(servers)]


@attrs.define
class LeastConnections:
    """The server with the fewest open connections; among equals, one after the other."""

    active: Callable[[str], int]
    _turn: RoundRobin = attrs.field(factory=RoundRobin)

    def choose(self, servers: Sequence[str], source: str) -> str:
        loads = [self.active(server) for server in servers]
        least = min(loads)
        idle = [server for server, load in zip(servers, loads, strict=True) if load == least]
        return self._turn.choose(idle, source)


@attrs.define
class SourceHash:
    """The same server for the same client address, by rendezvous hashing.

    Every server has a score for the address, and the highest wins, so that a server that comes or
    goes moves few clients.
    """

    def choose(self, servers: Sequence[str], source: str) -> str:
        key = source.encode()
        return max(
            servers,
            key=lambda server: blake2b(server.encode(), key=key[:64], digest_size=8).digest(),
        )


@attrs.define
class Random:
    """Any server, all equally likely."""

    randbelow: Randbelow

    def choose(self, servers: Sequence[str], source: str) -> str:
        return servers[self.randbelow(len(servers))]


_POLICIES: Mapping[str, Callable[[Callable[[str], int], Randbelow], Policy]] = {
    "round-robin": lambda active, randbelow: RoundRobin(),
    "least-connections": lambda active, randbelow: LeastConnections(active),
    "source-hash": lambda active, randbelow: SourceHash(),
    "random": lambda active, randbelow: Random(randbelow),
}
NAMES = tuple(_POLICIES)


def policy(name: str, active: Callable[[str], int], randbelow: Randbelow) -> Policy:
    """The policy of that name, one of `NAMES`; `active` tells a server's open connections."""
    return _POLICIES[name](active, randbelow)
