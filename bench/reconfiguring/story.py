"""What is done to a farm while its clients come back, step by step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from bench.reconfiguring.clients import Clients, Outcome, Visited
from bench.reconfiguring.farm import FIRST, SECOND, CommandFailed, Farm, Setting, cpu_seconds
from bench.reconfiguring.watching import Watching
from homing.farm.registries import open_registry
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ManagerPresence

_RETURNS = 40.0
"""Visits a second, about."""
_KILLED_AFTER = 1.5
"""Seconds into a move after which a process is killed."""
_STARTING = 2.0
"""Seconds, at most, until a command is at work."""
_PATIENCE = 60.0


class Victim(StrEnum):
    """Which balancer is killed in a stage, where there are several."""

    MANAGER = "the one that manages"
    OTHER = "another"


@attrs.frozen
class Stage:
    """A command, and who is killed meanwhile."""

    what: str
    command: str
    kills: Victim | None = None


STAGES = (
    Stage("s5 joins", "servers add s5"),
    Stage("evened, scheduled", "reassign --at {soon}", Victim.OTHER),
    Stage("s1 gets 40 %, exceptions", "resize s1 40% --how exceptions"),
    Stage("s2 drains, exceptions", "servers drain s2 --how exceptions", Victim.MANAGER),
    Stage("s2 is removed", "servers remove s2"),
    Stage("s1 gets 512 IDs, scheduled", "resize s1 --max-ids 512 --how scheduled"),
    Stage("s3 drains, drain", "servers drain s3 --how drain", Victim.OTHER),
)
MORE = (
    Stage("s3 is taken back", "servers add s3"),
    Stage("s4 drains, scheduled", "servers drain s4 --how scheduled", Victim.MANAGER),
    Stage("s4 is taken back", "servers add s4"),
    Stage("evened, drain", "reassign --how drain"),
)
"""What is left out if it has to be quick."""


@attrs.frozen
class Step:
    """What was done or happened, and when, in seconds since the beginning."""

    what: str
    began: float
    ended: float


@attrs.define
class Told:
    """What came of a whole story."""

    setting: Setting
    lifetime: int
    idle_cpu: float
    """Of a core, that the balancer with the manager uses while nobody comes."""
    steps: list[Step] = attrs.field(factory=list)
    visits: list[Visited] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)
    """Commands that failed, and what they said."""
    broken_off: int = 0

    def within(self, began: float, ended: float) -> list[Visited]:
        """The visits that began then."""
        return [one for one in self.visits if began <= one.at < ended]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and all commands did what they were asked."""
        return not self.failures and not self.count(Outcome.LOST)

    def count(self, outcome: Outcome) -> int:
        """How many visits had that outcome."""
        return sum(one.outcome is outcome for one in self.visits)


class Story:
    """Runs the steps on `farm`, of which `lifetime` is that of sessions, and reports each."""

    def __init__(
        self,
        reactor: Any,
        farm: Farm,
        setting: Setting,
        lifetime: int,
        report: Callable[[Step, Told], None],
    ) -> None:
        self._reactor = reactor
        self._farm = farm
        self._report = report
        self._watching = Watching(reactor.seconds, time.time)
        self._told = Told(setting, lifetime, 0.0)
        pauses = (0.05 * lifetime, 0.4 * lifetime)
        self._clients = Clients(
            reactor,
            farm.addresses,
            farm.ca,
            self._watching,
            resumption=setting.resumption,
            lifetime=lifetime,
            count=round(_RETURNS * sum(pauses) / 2),
            pauses=pauses,
            luck=Random(130),
        )
        self._told.visits = self._clients.visits

    async def tell(self, quick: bool) -> Told:
        """Do everything; returns what came of it."""
        registry = open_registry(self._reactor, self._farm.place)
        following = registry.follow(self._watching.receive)
        try:
            await self._until(lambda: len(self._watching.view.balancers) == self._balancers)
            await self._pause(2)
            self._told.idle_cpu = await self._idle(5)
            self._watching.begin()
            self._clients.start()
            await self._step("four servers", self._pause(self._told.lifetime / 2))
            for stage in STAGES if quick else (*STAGES, *MORE):
                await self._stage(stage)
            await self._step("and on", self._pause(self._told.lifetime / 2))
            await self._clients.stop()
        finally:
            following.stop()
            await registry.close()
        self._told.broken_off = self._clients.broken_off
        return self._told

    @property
    def _balancers(self) -> int:
        return len(self._farm.addresses)

    @property
    def _manager(self) -> ManagerPresence | None:
        found: ManagerPresence | None = self._watching.view.single(keys.MANAGER)
        return found

    async def _stage(self, stage: Stage) -> None:
        """Run its command, and kill a balancer meanwhile if it says so."""
        soon = datetime.fromtimestamp(time.time() + self._told.lifetime / 2 + _STARTING, UTC)
        words = stage.command.format(soon=soon.isoformat(timespec="seconds"))
        under_way = [self._step(stage.what, self._command(words))]
        if stage.kills is not None:
            under_way.append(self._kill(stage.kills))
        running = [Deferred.fromCoroutine(each) for each in under_way]
        await gatherResults(running, consumeErrors=True)

    async def _command(self, words: str) -> None:
        try:
            await self._farm.command(*words.split())
        except CommandFailed as error:
            self._told.failures.append(str(error))

    async def _kill(self, victim: Victim) -> None:
        """Kill a balancer, and wait until it is there again and the farm has a manager."""
        await self._pause(_KILLED_AFTER)
        manager = self._manager
        assert manager is not None
        manages = self._balancers == 1 or victim is Victim.MANAGER
        name = manager.name if manages else SECOND if manager.name == FIRST else FIRST
        before = self._watching.view.balancers[name].value.incarnation

        def is_back() -> bool:
            there = self._watching.view.balancers.get(name)
            is_new = there is not None and there.value.incarnation != before
            return is_new and self._manager is not None and self._manager.incarnation != before

        self._farm.kill(name)
        role = "the manager" if manages else "not the manager"
        await self._step(f"{name}, {role}, is killed", self._until(is_back))

    async def _step(self, what: str, work: Awaitable[object]) -> None:
        began = self._watching.seconds
        await work
        step = Step(what, began, self._watching.seconds)
        self._told.steps.append(step)
        self._report(step, self._told)

    async def _idle(self, seconds: float) -> float:
        """The part of a core that the manager's balancer uses."""
        assert self._manager is not None
        pid = self._farm.pid(self._manager.name)
        before = cpu_seconds(pid)
        await self._pause(seconds)
        return (cpu_seconds(pid) - before) / seconds

    async def _until(self, happened: Callable[[], bool]) -> None:
        deadline = self._reactor.seconds() + _PATIENCE
        while not happened():
            if self._reactor.seconds() > deadline:
                raise TimeoutError("what was to happen did not")
            await self._pause(0.02)

    async def _pause(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)
