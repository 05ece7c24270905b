"""Policies: which server gets a connection that no identifier sends anywhere.

Fig. 2, step 210: "load balancing methods known in the art, for example, according to the source IP
address of the packet and/or using round robin and/or hashing methods".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log
from types import MappingProxyType
from typing import Protocol

import attrs

from homing.shared.part import Randbelow

Weights = Mapping[str, float]
"""By server, how many connections it gets for each that a server of weight 1 gets; above 0."""
EVEN: Weights = MappingProxyType({})
"""All weigh the same."""

_FINE = 1 << 53


class Policy(Protocol):
    """Chooses among servers."""

    def choose(self, servers: Sequence[str], source: str) -> str:
        """One of `servers`, at least one, for a client whose IP address is `source`."""


@attrs.define
class RoundRobin:
    """One after the other; by weights, the server that is furthest behind its share.

    That is smooth: one of weight 3 does not get three connections in a row, as in nginx
    (ngx_http_upstream_round_robin.c).
    """

    weights: Weights = EVEN
    _turn: int = 0
    _behind: dict[str, float] = attrs.field(factory=dict)
    """By server, how far it is behind its share; below 0, ahead of it."""

    def choose(self, servers: Sequence[str], source: str) -> str:
        if self.weights:
            return self._furthest_behind(servers)
        self._turn += 1
        return servers[(self._turn - 1) % len(servers)]

    def _furthest_behind(self, servers: Sequence[str]) -> str:
        behind, total = self._behind, 0.0
        for server in servers:
            weight = self.weights.get(server, 1.0)
            behind[server] = behind.get(server, 0.0) + weight
            total += weight
        chosen = max(servers, key=behind.__getitem__)
        behind[chosen] -= total
        return chosen


@attrs.define
class LeastConnections:
    """The server with the fewest open connections for its weight; among equals, round robin."""

    active: Callable[[str], int]
    weights: Weights = EVEN
    _turn: RoundRobin = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turn = RoundRobin(self.weights)

    def choose(self, servers: Sequence[str], source: str) -> str:
        loads = [self.active(server) / self.weights.get(server, 1.0) for server in servers]
        least = min(loads)
        idle = [server for server, load in zip(servers, loads, strict=True) if load == least]
        return self._turn.choose(idle, source)


@attrs.define
class SourceHash:
    """The same server for the same client address, by rendezvous hashing.

    Every server has a score for the address, and the highest wins, so that a server that comes or
    goes moves few clients.  By weights, so does one whose weight changes: the logarithm of its
    hash, divided by the weight, is its score.
    """

    weights: Weights = EVEN

    def choose(self, servers: Sequence[str], source: str) -> str:
        key = source.encode()[:64]
        return max(servers, key=lambda server: self._score(server, key))

    def _score(self, server: str, key: bytes) -> tuple[float, bytes]:
        digest = blake2b(server.encode(), key=key, digest_size=8).digest()
        if not self.weights:
            return 0.0, digest
        at = (int.from_bytes(digest, "big") + 1) / (1 << 64)
        return log(at) / self.weights.get(server, 1.0), digest


@attrs.define
class Random:
    """Any server, each as likely as its weight says."""

    randbelow: Randbelow
    weights: Weights = EVEN

    def choose(self, servers: Sequence[str], source: str) -> str:
        if not self.weights:
            return servers[self.randbelow(len(servers))]
        ends = list(accumulate(self.weights.get(server, 1.0) for server in servers))
        at = self.randbelow(_FINE) / _FINE * ends[-1]
        return servers[min(bisect_right(ends, at), len(servers) - 1)]


_POLICIES: Mapping[str, Callable[[Callable[[str], int], Randbelow, Weights], Policy]] = {
    "round-robin": lambda active, randbelow, weights: RoundRobin(weights),
    "least-connections": lambda active, randbelow, weights: LeastConnections(active, weights),
    "source-hash": lambda active, randbelow, weights: SourceHash(weights),
    "random": lambda active, randbelow, weights: Random(randbelow, weights),
}
NAMES = tuple(_POLICIES)


def policy(
    name: str, active: Callable[[str], int], randbelow: Randbelow, weights: Weights = EVEN
) -> Policy:
    """The policy of that name, one of `NAMES`; `active` tells a server's open connections.

    A server of which `weights` says nothing weighs 1.
    """
    even = len(set(weights.values()) | {1.0}) == 1
    return _POLICIES[name](active, randbelow, EVEN if even else weights)
