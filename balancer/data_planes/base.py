"""What the two data planes, hand-off and relay, look like to the balancer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred

from homing.balancer.client_connection import ClientConnection
from homing.balancer.routing import Reason

pauses = backoffPolicy(
    initialDelay=0.1,
    maxDelay=10.0,
    factor=1.6,
    jitter=lambda: random.uniform(0, 0.1),  # noqa: S311
)
"""Seconds before attempt n to reach a server that could not be reached: growing, with jitter."""


@attrs.frozen
class Balancing:
    """What a data plane tells the balancer."""

    changed: Callable[[], None]
    """A server has gone up or down."""
    give_back: Callable[[ClientConnection, str, Reason], None]
    """That server did not take this connection, for this reason: another one must."""
    learn: Callable[[str, bytes], None]
    """That server has given this session ID out."""
    free: Callable[[str], None]
    """That server can be given more connections."""
    told: Callable[[str, bytes | None], None]
    """That server has told the digest of its record; None: it cannot tell any."""


class DataPlane(Protocol):
    """The way to one server."""

    name: str
    up: bool
    """Whether it takes connections."""

    @property
    def active(self) -> int:
        """Its open connections."""

    def start(self) -> None:
        """Begin to reach for the server."""

    def take(self, client: ClientConnection) -> bool:
        """Bring a connection to the server, or give it back later; False if it is busy."""

    def stop(self, grace: float | None) -> Deferred[None]:
        """Take no more; open connections get `grace` seconds to end, or as long as they need.

        May be called again, with less grace.
        """
