"""A key that is kept as long as its process is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from homing.shared.registry.interface import TIMEOUT, Item, Transaction, Unavailable
from homing.shared.registry.keeper import NEXT, Keeper, LeaseEvent, LeaseState
from homing.shared.registry.memory import MemoryRegistry
from tests.logs import log
from tests.shared.registry.simulated import Fate, SimulatedClient
from tests.turns import TurningClock

KEY = "servers/s1"
LEASE = 6.0
LOST = Fate(is_lost=True)


class World:
    """A registry, and processes that would keep the same key."""

    def __init__(self) -> None:
        self.clock = TurningClock()
        self.registry = MemoryRegistry(self.clock.seconds)
        self.fates: deque[Fate] = deque()
        """Of the calls to come; then all is well."""
        self.taken: list[bytes] = []
        self.client = SimulatedClient(
            self.registry,
            self.clock,
            lambda: self.fates.popleft() if self.fates else Fate(),
        )
        self.keeper = self.process(self.client)

    def process(self, client: SimulatedClient, replaces: bytes = b"") -> Keeper:
        """One more process."""
        keeper = Keeper(
            client,
            self.clock,
            KEY,
            LEASE,
            now=self.clock.seconds,
            taken=lambda item: self.taken.append(item.value),
            replaces=lambda item: item.value == replaces,
        )
        client.follow(keeper.receive)
        return keeper

    def other(self, replaces: bytes = b"") -> Keeper:
        """Another process, whose network is good."""
        return self.process(SimulatedClient(self.registry, self.clock), replaces)

    def pass_time(self, seconds: float) -> None:
        """In turns of 50 ms; leases that are over end in time."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            self.registry.expire()

    @property
    def item(self) -> Item | None:
        return self.registry.items.get(KEY)

    @property
    def value(self) -> bytes | None:
        return self.item.value if self.item else None


@pytest.fixture(name="world")
def world_() -> World:
    return World()


def test_the_key_is_there_as_long_as_the_process_is(world: World) -> None:
    world.keeper.put(b"1")
    assert not world.keeper.is_held
    world.pass_time(1)
    first = world.item
    assert first is not None
    assert first.value == b"1"
    assert world.keeper.is_held
    assert world.keeper.revision == first.revision
    for _ in range(20):
        world.pass_time(LEASE / 4)
        assert world.item == first
        assert world.keeper.is_held
    world.client.is_cut_off = True  # as if it were killed
    world.pass_time(LEASE + 1)
    assert world.item is None
    assert not world.keeper.is_held


def test_nothing_is_asked_for_before_there_is_a_value(world: World) -> None:
    world.pass_time(10)
    assert world.keeper.state is LeaseState.NONE
    assert world.registry.revision == 1


def test_the_newest_value_wins_and_those_in_between_are_never_put(world: World) -> None:
    put = []
    SimulatedClient(world.registry, world.clock, pause=lambda: 0.0).follow(
        lambda batch: put.extend([item.value for item in batch.puts.values()])
    )
    world.keeper.put(b"1")
    world.pass_time(1)
    world.fates.append(Fate(before=0.3, after=0.3))
    for number in range(2, 10):
        world.keeper.put(b"%d" % number)
    world.pass_time(2)
    assert put == [b"1", b"2", b"9"]
    assert world.keeper.is_held


def test_it_never_believes_longer_than_the_registry_that_it_holds_the_key(world: World) -> None:
    world.fates.append(Fate(before=2.0, after=2.0))
    world.keeper.put(b"1")
    world.pass_time(4.5)
    assert world.keeper.held_until == LEASE, "counted from before it was asked for"
    world.client.is_cut_off = True
    while world.keeper.is_held:
        world.pass_time(0.05)
        assert world.value == b"1"
    world.pass_time(LEASE)
    assert world.value is None


@pytest.mark.parametrize("fate", [LOST, Fate(answer_is_lost=True), Fate(after=TIMEOUT + 1)])
def test_a_call_that_is_not_answered_is_made_again(world: World, fate: Fate) -> None:
    world.fates += [fate]  # the lease
    world.keeper.put(b"1")
    world.pass_time(TIMEOUT + 2)
    assert world.keeper.is_held
    world.fates += [fate]  # the value
    world.keeper.put(b"2")
    world.pass_time(TIMEOUT + 2)
    assert world.value == b"2"
    assert world.keeper.is_held
    assert world.taken == []


def test_a_put_that_comes_twice_does_no_harm(world: World) -> None:
    world.fates += [Fate(), Fate(again=0.5)]
    world.keeper.put(b"1")
    world.pass_time(0.3)
    world.keeper.put(b"2")
    world.pass_time(2)
    assert world.value == b"2"
    assert world.keeper.is_held


def test_a_lease_that_was_lost_is_asked_for_again_and_the_key_put_again(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    assert world.item
    world.registry.revoke(world.item.lease)
    assert world.item is None
    world.pass_time(1)
    assert world.item is not None
    assert world.keeper.is_held
    assert world.keeper.revision == world.item.revision


def test_after_a_long_silence_the_key_is_put_again(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    world.client.is_cut_off = True
    world.pass_time(60)
    assert world.value is None
    assert not world.keeper.is_held
    world.client.is_cut_off = False
    world.pass_time(TIMEOUT + 2)
    assert world.value == b"1"
    assert world.keeper.is_held


def test_a_pause_of_the_process_costs_the_lease_and_no_more(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    world.clock.rightNow += 100  # stopped, or the machine slept
    world.registry.expire()
    assert not world.keeper.is_held
    world.pass_time(1)
    assert world.keeper.is_held


def test_what_somebody_else_has_put_stays_until_it_is_gone(world: World) -> None:
    other = world.other()
    other.put(b"other's")
    world.pass_time(1)
    world.keeper.put(b"1")
    world.pass_time(20)
    assert world.value == b"other's"
    assert world.taken == [b"other's"]
    assert not world.keeper.is_held
    other.put(b"other's, again")
    world.pass_time(1)
    assert world.taken == [b"other's", b"other's, again"]
    other.stop()
    world.pass_time(LEASE + 1)
    assert world.value == b"1"
    assert world.keeper.is_held


def test_of_two_that_begin_at_once_one_keeps_the_key(world: World) -> None:
    other = world.other()
    other.put(b"other's")
    world.keeper.put(b"1")
    world.pass_time(1)
    assert [world.keeper.is_held, other.is_held].count(True) == 1
    assert len(world.taken) == 1


def test_who_may_succeed_does_so_at_once_and_the_old_lease_takes_nothing_with_it(
    world: World,
) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    world.keeper.stop()
    successor = world.other(replaces=b"1")
    successor.put(b"2")
    world.pass_time(1)
    assert world.value == b"2"
    assert world.taken == []
    world.pass_time(2 * LEASE)
    assert world.value == b"2"
    assert successor.is_held


def test_a_key_that_is_removed_or_overwritten_is_not_believed_to_be_held(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    revision = world.keeper.revision
    changed = world.registry.commit(Transaction({KEY: revision}, {KEY: b"stranger's"}))
    world.pass_time(1)
    assert not world.keeper.is_held
    assert world.taken == [b"stranger's"]
    world.registry.commit(Transaction({KEY: changed or 0}, deletes=frozenset({KEY})))
    world.pass_time(1)
    assert world.value == b"1"
    assert world.keeper.is_held


def test_the_end_removes_the_key_at_once_and_leaves_no_timer(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    ended = Deferred.fromCoroutine(world.keeper.end())
    assert not world.keeper.is_held
    world.pass_time(0.1)
    assert ended.called
    assert world.value is None
    world.keeper.put(b"2")
    world.client.follows.clear()
    world.pass_time(TIMEOUT + 1)
    assert world.value is None
    assert world.clock.calls == []


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 2.1])
def test_who_stops_in_the_midst_of_a_call_is_not_woken_by_its_answer(
    world: World, after: float
) -> None:
    world.fates += [Fate(before=0.1, after=0.1)] * 4
    world.keeper.put(b"1")
    world.pass_time(after)
    Deferred.fromCoroutine(world.keeper.end())
    world.pass_time(0.4)
    assert world.keeper.held_until == float("-inf")
    world.pass_time(20)
    assert world.value is None


def test_who_stops_says_nothing_of_calls_that_fail_then(world: World) -> None:
    world.fates += [LOST] * 4
    with log("homing.shared.registry") as lines:
        world.keeper.put(b"1")
        world.keeper.stop()
        world.pass_time(TIMEOUT + 1)
    assert lines == []


class ReadOnly(SimulatedClient):
    """It grants and renews leases, and takes no value."""

    async def commit(self, transaction: Transaction) -> int | None:
        raise Unavailable("nothing can be written")


def test_a_put_that_fails_for_hours_is_said_once(world: World) -> None:
    keeper = world.process(ReadOnly(world.registry, world.clock))
    with log("homing.shared.registry") as lines:
        keeper.put(b"1")
        world.pass_time(5 * LEASE)
    assert len(lines) == 1, lines


def test_who_learns_that_something_else_is_there_waits_for_news_of_it(world: World) -> None:
    world.keeper.put(b"1")
    world.pass_time(1)
    calls = []
    world.client._fate = lambda: calls.append(1) or Fate()  # type: ignore[func-returns-value]
    world.client._pause = lambda: 3.0
    world.pass_time(0.2)
    there = Transaction({KEY: world.keeper.revision}, {KEY: b"other's"})
    world.registry.commit(there)
    calls.clear()
    world.keeper.put(b"2")
    world.pass_time(1)
    assert len(calls) <= 2, "the put, and perhaps a renewal"
    world.pass_time(3)
    assert world.taken == [b"other's"]


def test_every_state_answers_every_event_and_nothing_leads_back_from_stopped() -> None:
    assert NEXT.keys() == {(state, event) for state in LeaseState for event in LeaseEvent}
    for event in LeaseEvent:
        assert NEXT[LeaseState.STOPPED, event] is LeaseState.STOPPED
        if event is not LeaseEvent.DONE:
            assert NEXT[LeaseState.ASKING, event] is not LeaseState.HELD, event


DELAYS = st.sampled_from([0.0, 0.05, 0.3, 2.0, TIMEOUT + 1])
FATES = st.builds(
    Fate, DELAYS, DELAYS, st.booleans(), st.booleans(), st.none() | st.sampled_from([0.0, 1.0, 9.0])
)


@given(st.lists(FATES, max_size=12), st.lists(st.floats(0.05, 3), min_size=1, max_size=6))
@example(  # the answer to a put comes when what was put is gone again
    [Fate(), Fate(answer_is_lost=True), Fate(after=6.0), Fate(after=2.0)], [1.0, 1.0, 2.0, 3.0]
)
def test_whatever_becomes_of_its_calls_it_is_held_only_if_it_is_there_and_is_so_in_the_end(
    fates: list[Fate], pauses: list[float]
) -> None:
    world = World()
    world.fates.extend(fates)
    for step in _steps(world, pauses):
        if world.keeper.is_held:
            assert world.item is not None, step
            assert world.item.revision >= world.keeper.revision
    assert world.value == b"%d" % (len(pauses) - 1)
    assert world.keeper.is_held
    assert world.taken == []


def _steps(world: World, pauses: list[float]) -> Iterator[int]:
    """Put a value after each pause; then wait until all calls can have come to an end."""
    for number, pause in enumerate(pauses):
        world.keeper.put(b"%d" % number)
        for _ in range(round(pause / 0.05)):
            world.pass_time(0.05)
            yield number
    world.fates.clear()
    for _ in range(round(5 * TIMEOUT / 0.05)):
        world.pass_time(0.05)
        yield len(pauses)
