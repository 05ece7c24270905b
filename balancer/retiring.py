"""A balancer whose place another process has taken: it ends without ending a connection."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from homing.balancer.service import Balancer

LAST_CALL = 5.0
"""Seconds in which connections that are on their way to a server arrive there, or come back."""

_LOOK = 0.05


async def accept_no_more(clock: IReactorTime, balancer: Balancer) -> None:
    """Leave new clients to others; returns when none waits here, after `hello_timeout` at most."""
    balancer.stop_accepting()
    while balancer.running and len(balancer.dispatch.waiting):
        await deferLater(clock, _LOOK)


async def last_connections(clock: IReactorTime, balancer: Balancer, grace: float) -> None:
    """After that: returns when all connections have ended.

    Those that last longer than `grace` seconds are aborted.
    """
    await deferLater(clock, LAST_CALL)
    if balancer.running:
        await balancer.connections_end(grace)
