"""A client of the model by a bad network: calls are late, lost or repeated; time is turned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred

from homing.shared.deadlines import Clock
from homing.shared.registry.interface import (
    TIMEOUT,
    Batch,
    RegistryError,
    Transaction,
    Unavailable,
)
from homing.shared.registry.memory import MemoryRegistry

_T = TypeVar("_T")


@attrs.frozen
class Fate:
    """What becomes of one call; times are in seconds."""

    before: float = 0.0
    """Until it reaches the registry."""
    after: float = 0.0
    """Until the answer comes back."""
    is_lost: bool = False
    """It never reaches the registry."""
    answer_is_lost: bool = False
    again: float | None = None
    """It reaches the registry once more, so much later; nobody hears that answer."""


class SimulatedClient:
    """A Registry.  `fate` is asked at each call; `pause` gives the seconds until the next news."""

    def __init__(
        self,
        registry: MemoryRegistry,
        clock: Clock,
        fate: Callable[[], Fate] = Fate,
        pause: Callable[[], float] = lambda: 0.1,
    ) -> None:
        self.is_cut_off = False
        """While it is, nothing reaches the registry, and no news comes."""
        self.follows: list[SimulatedFollow] = []
        self._registry = registry
        self._clock = clock
        self._fate = fate
        self._pause = pause

    async def commit(self, transaction: Transaction) -> int | None:
        return await self._ask(partial(self._registry.commit, transaction))

    async def grant(self, seconds: float) -> int:
        return await self._ask(partial(self._registry.grant, seconds))

    async def renew(self, lease: int) -> None:
        await self._ask(partial(self._registry.renew, lease))

    async def revoke(self, lease: int) -> None:
        await self._ask(partial(self._registry.revoke, lease))

    async def read(self) -> Batch:
        return await self._ask(self._registry.read)

    def follow(self, receive: Callable[[Batch], None]) -> SimulatedFollow:
        follow = SimulatedFollow(self, receive)
        self.follows.append(follow)
        self._clock.callLater(0, partial(self._look, follow))
        return follow

    async def close(self) -> None:
        """As a process that is killed: nothing more is heard of it."""
        self.is_cut_off = True
        self.follows.clear()

    def _ask(self, operation: Callable[[], _T]) -> Deferred[_T]:
        answer: Deferred[_T] = Deferred()
        fate = self._fate()
        timer = self._clock.callLater(
            TIMEOUT, lambda: answer.errback(Unavailable("no answer in time"))
        )

        def finish(fire: Callable[[Any], None], result: Any) -> None:
            if not answer.called and not self.is_cut_off:
                timer.cancel()
                fire(result)

        def arrive(is_heard: bool) -> None:
            if self.is_cut_off:
                return
            fire: Callable[[Any], None] = answer.callback
            result: Any
            try:
                result = operation()
            except RegistryError as error:
                fire, result = answer.errback, error
            if is_heard:
                self._clock.callLater(fate.after, partial(finish, fire, result))

        if not fate.is_lost:
            self._clock.callLater(fate.before, partial(arrive, not fate.answer_is_lost))
        if fate.again is not None:
            self._clock.callLater(fate.before + fate.again, partial(arrive, False))
        return answer

    def _look(self, follow: SimulatedFollow) -> None:
        if follow not in self.follows:
            return
        if not self.is_cut_off and (batch := self._registry.changes(follow.seen)):
            follow.seen = batch.revision
            follow.receive(batch)
        self._clock.callLater(self._pause(), partial(self._look, follow))


@attrs.define(eq=False)
class SimulatedFollow:
    """The following of a simulated registry."""

    _client: SimulatedClient
    receive: Callable[[Batch], None]
    seen: int = 0

    @property
    def failure(self) -> RegistryError | None:
        return Unavailable("it is cut off") if self._client.is_cut_off else None

    def stop(self) -> None:
        if self in self._client.follows:
            self._client.follows.remove(self)
