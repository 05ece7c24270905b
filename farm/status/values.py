"""The farm's state as plain data, in the words of the JSON that programs get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

TO_SPARE = "spare"
"""Where a part goes that nobody is to own."""


@attrs.frozen
class ServerStatus:
    """A server: one that people wish for, that is there, or that owns something."""

    name: str
    address: str
    up: bool | None
    """None where the registry does not know: servers that are not ours have no presence."""
    state: str
    """active, draining, drained; or new, as long as nobody has wished for it."""
    leaves: bool
    """Whether it is no longer of the farm once it is drained."""
    epoch: int
    share: float
    """Its part of all identifiers."""
    sessions: int
    weight: float


@attrs.frozen
class BalancerStatus:
    """A balancer that is there."""

    name: str
    epoch: int
    up: bool = True


@attrs.frozen
class PartStatus:
    """Neighbouring parts of one owner in one state, or one part."""

    set: Mapping[str, Any]
    owner: str
    state: str
    next: str | None
    expires: str | None
    """When its owner must stop to draw unless it renews its assignment."""
    exceptions: int


@attrs.frozen
class MoveStatus:
    """A part on its way."""

    part: int
    set: Mapping[str, Any]
    from_: str
    to: str
    how: str
    step: str
    at: str | None
    waits_for: str
    until: str | None
    """When what it waits for is over at the latest, as far as is known."""
    note: str


@attrs.frozen
class RefusalStatus:
    """A server that is not of the farm, and why."""

    server: str
    why: str


@attrs.frozen
class Status:
    """All of it."""

    epoch: int
    scheme: str | None
    manager: str | None
    balancers: list[BalancerStatus]
    servers: list[ServerStatus]
    spare: float
    """The part of all identifiers that nobody owns."""
    parts: list[PartStatus]
    moves: list[MoveStatus]
    refusals: list[RefusalStatus]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        data: dict[str, Any] = attrs.asdict(self)
        data["moves"] = [
            {key.rstrip("_"): value for key, value in move.items()} for move in data["moves"]
        ]
        return data
