"""What a command asks for is written once, and the command waits until the farm has done it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from homing.farm import orders
from homing.farm.commands.operating.carrying_out import carry_out
from homing.farm.orders import Order, Size
from homing.farm.progress import Progress
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ServerFacts, Wish
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Batch, Refused, Transaction, Unavailable
from homing.shared.registry.memory import MemoryClient
from tests.farm.managed import ManagedFarm

ADD = partial(orders.add, name="s2")


class Shown:
    """What people were shown."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.words: list[str] = []

    def step(self, progress: Progress) -> None:
        if progress.words not in self.steps:
            self.steps.append(progress.words)

    def say(self, words: str) -> None:
        self.words.append(words)


class Command:
    """A command under way, on a clock that the test turns."""

    def __init__(self, registry: Any, plan: Callable[[View], Order] = ADD, **options: Any) -> None:
        self.clock, self.shown = Clock(), Shown()
        self.outcome: list[str] = []
        self.failures: list[BaseException] = []
        work = carry_out(self.clock, registry, plan, self.shown, **options)
        self.doing = Deferred.fromCoroutine(work)
        self.doing.addCallbacks(
            self.outcome.append, lambda failure: self.failures.append(failure.value)
        )

    def turn(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)


def test_a_server_is_added_from_the_wish_to_the_end() -> None:
    farm = ManagedFarm("s1")
    command = Command(farm.client)
    command.turn(1)
    farm.step()
    command.turn(1)
    farm.start("s2")
    command.turn(1)
    farm.follow()
    assert command.outcome == []
    command.turn(2)
    assert command.outcome == ["s2 is up and has its identifiers"]
    assert command.shown.steps[0] == "s2 is not up yet"
    assert command.clock.getDelayedCalls() == []
    assert len(farm.registry.follows) == 1  # the farm's own


def test_who_does_not_wait_is_told_where_to_look() -> None:
    farm = ManagedFarm("s1")
    command = Command(farm.client, wait=False)
    assert command.outcome == ["asked for; homing status shows how far it is"]
    assert "s2" in farm.view.wishes


def test_what_cannot_be_is_not_written() -> None:
    farm = ManagedFarm("s1")
    revision = farm.registry.revision
    command = Command(farm.client, partial(orders.drain, name="s9"))
    assert "s9 is no server of the farm" in str(command.failures[0])
    assert farm.registry.revision == revision


def test_a_farm_without_a_manager_fails_the_command_after_ten_seconds() -> None:
    farm = ManagedFarm("s1", managed=False)
    command = Command(farm.client)
    command.turn(9)
    assert command.failures == []
    command.turn(2)
    assert "no balancer has managed the farm" in str(command.failures[0])
    assert "s2" in farm.view.wishes


def test_an_interrupted_command_leaves_what_it_asked_for_in_force() -> None:
    farm = ManagedFarm("s1")
    command = Command(farm.client)
    command.turn(1)
    command.doing.cancel()
    assert isinstance(command.failures[0], CancelledError)
    assert command.shown.words == ["interrupted: what was asked stays in force"]
    assert "s2" in farm.view.wishes
    assert command.clock.getDelayedCalls() == []


class Contested(MemoryClient):
    """A registry in which somebody else is quicker: before each of the first commits."""

    def __init__(self, farm: ManagedFarm, others: list[tuple[str, object]]) -> None:
        super().__init__(farm.registry)
        self._farm = farm
        self._others = others

    async def commit(self, transaction: Transaction) -> int | None:
        if self._others:
            self._farm.put(*self._others.pop(0))
        return await super().commit(transaction)


def test_a_wish_is_made_anew_from_what_others_wished_meanwhile() -> None:
    farm = ManagedFarm("s1", "s3")
    other = Wish(ServerFacts("unix:s1.sock"), weight=7.0)
    resize = partial(orders.resize, name="s1", size=Size(max_ids=5))
    registry = Contested(farm, [(keys.wish("s1"), other)])
    command = Command(registry, resize, wait=False)
    command.turn(1)
    assert command.failures == []
    wish = farm.view.wishes["s1"].value
    assert (wish.weight, wish.max_ids) == (7.0, 5)


def test_what_others_did_first_is_not_done_twice() -> None:
    farm = ManagedFarm("s1")
    registry = Contested(farm, [(keys.wish("s2"), Wish(ServerFacts("unix:s2.sock")))])
    command = Command(registry)
    command.turn(1)
    assert "s2 is a server of the farm already" in str(command.failures[0])


def test_a_farm_that_never_rests_is_given_up() -> None:
    farm = ManagedFarm("s1", "s2")
    others = [
        (keys.wish("s2"), Wish(ServerFacts("unix:s2.sock"), weight=float(number)))
        for number in range(1, 100)
    ]
    command = Command(Contested(farm, list(others)), partial(orders.drain, name="s2"))
    command.turn(5)
    assert "the farm changes all the time: nothing was done" in str(command.failures[0])


class Silent(MemoryClient):
    """A registry that says nothing."""

    def follow(self, receive: Callable[[Batch], None]) -> Any:
        return super().follow(lambda batch: None)


def test_a_registry_that_says_nothing_is_given_up() -> None:
    command = Command(Silent(ManagedFarm("s1").registry))
    command.turn(6)
    assert isinstance(command.failures[0], Unavailable)
    assert str(command.failures[0]) == "the registry does not answer: no news for 5 s"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Unavailable("no answer"),
            "no answer; what was asked may be in force or not: see homing s",
        ),
        (Refused("you may not"), "you may not"),
    ],
)
def test_a_failure_to_write_is_said_with_what_is_known(error: Exception, words: str) -> None:
    class Failing(MemoryClient):
        async def commit(self, transaction: Transaction) -> int | None:
            raise error

    farm = ManagedFarm("s1")
    (failure,) = Command(Failing(farm.registry)).failures
    assert str(failure).startswith(words)
    assert len(farm.registry.follows) == 1
