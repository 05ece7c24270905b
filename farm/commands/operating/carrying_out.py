"""Writes what people ask of a farm into its registry, and waits until the farm has done it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from homing.farm.commands.operating.patience import STAYS, Patience
from homing.farm.orders import Order
from homing.farm.progress import Progress
from homing.shared.errors import HomingError
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import TIMEOUT, Follow, Registry, Unavailable

_EVERY = 0.1
_TRIES = 20
_PERHAPS = "what was asked may be in force or not: see homing status"


class Showing(Protocol):
    """Shows people how far it is."""

    def step(self, progress: Progress) -> None:
        """So far it is now."""

    def say(self, words: str) -> None:
        """Something happened."""


async def carry_out(
    reactor: IReactorTime,
    registry: Registry,
    plan: Callable[[View], Order],
    show: Showing,
    wait: bool = True,
    timeout: float | None = None,
) -> str:
    """Write what `plan` makes of the farm's state, and wait until it is done; returns what is done.

    Raises HomingError when it cannot be, or takes longer than `timeout` seconds.
    """
    view = View(show.say)
    patience: Patience | None = None
    batches: list[frozenset[str]] = []
    following = registry.follow(lambda batch: batches.append(view.apply(batch)))
    try:
        await _until(reactor, following, lambda: bool(batches))
        order = await _written(reactor, registry, following, view, plan)
        if not wait:
            return "asked for; homing status shows how far it is"
        patience = Patience(order.look, reactor.seconds(), timeout)
        while progress := patience.look(view, reactor.seconds(), following.failure):
            show.step(progress)
            await _pause(reactor)
        return order.done
    except CancelledError:
        show.say(f"interrupted: {STAYS if patience else _PERHAPS}")
        raise
    finally:
        following.stop()


async def _written(
    reactor: IReactorTime,
    registry: Registry,
    following: Follow,
    view: View,
    plan: Callable[[View], Order],
) -> Order:
    """The order that has been written; it is made anew where the farm has changed meanwhile."""
    for _ in range(_TRIES):
        order = plan(view)
        before = view.revision
        try:
            revision = await registry.commit(view.change(order.changes))
        except Unavailable as error:
            raise Unavailable(f"{error}; {_PERHAPS}") from error
        if revision is not None:
            await _until(reactor, following, partial(_has_come_to, view, revision))
            return order
        await _until(reactor, following, partial(_has_come_to, view, before + 1))
    raise HomingError("the farm changes all the time: nothing was done; try again")


def _has_come_to(view: View, revision: int) -> bool:
    return view.revision >= revision


async def _until(reactor: IReactorTime, following: Follow, happened: Callable[[], bool]) -> None:
    """Wait for the registry's news.  Raises Unavailable."""
    deadline = reactor.seconds() + TIMEOUT
    while not happened():
        if reactor.seconds() > deadline:
            why = following.failure or f"no news for {TIMEOUT:g} s"
            raise Unavailable(f"the registry does not answer: {why}")
        await _pause(reactor)


def _pause(reactor: IReactorTime) -> Deferred[None]:
    return deferLater(reactor, _EVERY)
