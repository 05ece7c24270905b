"""Measures how many returning clients of one kind resume their session on one farm."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom
from typing import Any

import attrs

from homing.farm.commands.s_client import CarrierOptions, Client, Visit

_AT_ONCE = 2 * (os.cpu_count() or 1)


@attrs.frozen
class Work:
    """One row of the result."""

    balancer: str
    scheme: str
    plane: str
    carrier: CarrierOptions

    @property
    def farm(self) -> tuple[str, str, str, str]:
        """A key: works with the same key can run on the same farm."""
        return self.balancer, self.scheme, self.plane, self.carrier.resumption


@attrs.frozen(kw_only=True)
class Result:
    """What the returning clients saw."""

    work: Work
    first_visits: int
    connections: int
    """Return visits, each with a session to resume."""
    resumed: int
    servers: tuple[str, ...]
    """All that were seen."""

    @property
    def hit_rate(self) -> float:
        """Resumed connections in percent."""
        return 100 * self.resumed / self.connections

    def to_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "balancer": self.work.balancer,
            "scheme": self.work.scheme,
            "plane": self.work.plane,
            "carrier": self.work.carrier.name,
            "tls": self.work.carrier.tls,
            **attrs.asdict(self, filter=lambda field, _: field.name != "work"),
            "hit_rate": round(self.hit_rate, 2),
        }


def measure(
    work: Work,
    make: Callable[[Path], Client],
    advance: Callable[[], None],
    *,
    clients: int,
    rounds: int,
) -> Result:
    """Let `clients` clients visit once, then return `rounds` times, each time in random order."""

    def visit(client: Client) -> Visit:
        seen = client.visit()
        advance()
        return seen

    with (
        tempfile.TemporaryDirectory(prefix="homing-") as folder,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        everybody = [make(Path(folder, f"{index}.session")) for index in range(clients)]
        first = list(pool.map(visit, everybody))
        returns: list[Visit] = []
        for _ in range(rounds):
            SystemRandom().shuffle(everybody)
            returns += pool.map(visit, everybody)
    return Result(
        work=work,
        first_visits=len(first),
        connections=len(returns),
        resumed=sum(seen.resumed for seen in returns),
        servers=tuple(sorted({seen.server for seen in first + returns if seen.server})),
    )
