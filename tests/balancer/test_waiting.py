"""Connections that wait: for a hello, a server, or any; in one room, in order, never for long."""

from __future__ import annotations

import socket

import pytest

from homing.balancer.client_connection import ClientConnection
from homing.balancer.time_slice import TimeSlice
from homing.balancer.waiting import TICK, For, WaitingRoom, WaitsFor
from tests.turns import TurningClock

TICKS = 4
LIMIT = 3


class World:
    """A room with three places, in which a connection may wait for a second."""

    def __init__(self) -> None:
        self.clock = TurningClock()
        self.retried: list[WaitsFor] = []
        self.over: list[tuple[ClientConnection, WaitsFor, bool]] = []
        self.room = WaitingRoom(
            self.clock,
            TimeSlice(self.clock),
            self.retried.append,
            lambda *one: self.over.append(one),
            limit=LIMIT,
            timeout=TICKS * TICK,
        )

    def add(self, *whats: WaitsFor) -> list[ClientConnection]:
        """As many connections that wait, each for one of these."""
        clients = [ClientConnection(socket.socket(), "192.0.2.1") for _ in whats]
        for client, what in zip(clients, whats, strict=True):
            self.room.add(client, what)
            client.socket.close()
        return clients

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.pump([TICK, 0])


@pytest.fixture(name="world")
def world_() -> World:
    return World()


def test_they_are_placed_in_order_until_one_has_to_wait_on(world: World) -> None:
    first, second, third = world.add("s1", "s1", "s1")
    asked: list[ClientConnection] = []

    def place(client: ClientConnection) -> WaitsFor | None:
        asked.append(client)
        return {first: None, second: For.ANY_SERVER}.get(client, "s1")

    world.room.pass_on("s2", place)
    assert asked == []
    world.room.pass_on("s1", place)
    assert asked == [first, second, third]
    assert world.room.queue("s1") == (third,)
    assert world.room.queue(For.ANY_SERVER) == (second,)
    assert len(world.room) == 2


def test_who_has_to_wait_on_stays_the_first(world: World) -> None:
    clients = tuple(world.add("s1", "s1"))
    world.room.pass_on("s1", lambda _: "s1")
    assert world.room.queue("s1") == clients


@pytest.mark.parametrize("what", [For.HELLO, "s1", For.ANY_SERVER])
def test_nobody_waits_for_less_than_the_time_nor_much_longer(world: World, what: WaitsFor) -> None:
    (first,) = world.add(what)
    world.tick()
    (second,) = world.add(what)
    world.tick(TICKS - 1)
    assert world.over == []
    world.tick(3)
    assert world.over == [(first, what, False), (second, what, False)]
    assert set(world.retried) == {what}
    assert world.clock.calls == []


def test_the_time_counts_from_when_a_connection_first_waited(world: World) -> None:
    (client,) = world.add(For.HELLO)
    world.tick(TICKS - 1)
    assert world.room.leave(client) is For.HELLO
    assert world.room.leave(client) is None
    world.room.add(client, "s1")
    world.tick(2)
    assert world.over == [(client, "s1", False)]


@pytest.mark.parametrize(
    ("whats", "first_to_go"),
    [
        (["s1", For.ANY_SERVER, "s2"], 0),
        ([For.ANY_SERVER, "s1", "s1"], 0),
        (["s1", For.HELLO, For.HELLO], 1),
        ([For.HELLO, For.HELLO, "s1"], 0),
    ],
)
@pytest.mark.parametrize("newcomer", [For.HELLO, "s1", For.ANY_SERVER])
def test_when_all_places_are_taken_a_hello_that_does_not_come_goes_first_then_the_oldest(
    world: World, whats: list[WaitsFor], first_to_go: int, newcomer: WaitsFor
) -> None:
    clients = world.add(*whats)
    clients += world.add(newcomer)
    if newcomer is For.HELLO not in whats:
        first_to_go = LIMIT  # the one that has just come
    assert world.over == [(clients[first_to_go], [*whats, newcomer][first_to_go], True)]
    assert len(world.room) == LIMIT


def test_the_oldest_is_the_one_that_first_waited_first(world: World) -> None:
    (old,) = world.add(For.HELLO)
    world.tick()
    world.add("s1", For.ANY_SERVER)
    world.room.leave(old)
    world.room.add(old, "s1")
    world.add("s1")
    assert world.over == [(old, "s1", True)]


def test_a_pause_of_this_process_is_held_against_nobody(world: World) -> None:
    world.add(For.HELLO, "s1", For.ANY_SERVER)
    for _ in range(TICKS):
        world.clock.pump([60, 0])
    assert world.over == []


def test_with_other_limits_who_waits_keeps_the_time_it_has_left(world: World) -> None:
    (old,) = world.add("s1")
    world.room.renew(2, TICK)
    world.add("s1")
    world.tick(2)
    assert len(world.over) == 1
    assert world.room.queue("s1") == (old,)


def test_many_whose_time_is_over_do_not_make_one_turn_long(world: World) -> None:
    world.room.renew(100, TICK)
    world.add(*["s1"] * 100)

    def costly(*one: object) -> None:
        world.over.append(one)  # type: ignore[arg-type]
        world.clock.rightNow += 0.001

    world.room._over = costly
    world.tick(2)
    ended = len(world.over)
    assert 0 < ended < 10
    world.clock.pump([0] * 100)
    assert len(world.over) == ended, "whoever can be served comes first"
    world.clock.pump([0.01] * 200)
    assert len(world.over) == 100


def test_at_the_end_all_leave_and_no_timer_stays(world: World) -> None:
    clients = world.add(For.HELLO, "s1", For.ANY_SERVER)
    assert world.room.clear() == clients
    assert len(world.room) == 0
    assert world.clock.calls == []
