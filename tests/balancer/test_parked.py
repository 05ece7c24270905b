"""Connections that wait for a server: in order, bounded, and never for long."""

from __future__ import annotations

import socket
from collections import deque

import pytest

from homing.balancer.arrival import Arrival
from homing.balancer.parked import TICK, Parked
from tests.turns import TurningClock

PATIENCE = 1.0


class Room:
    """Three connections may wait for each server, for a second."""

    def __init__(self) -> None:
        self.clock = TurningClock()
        self.tried: list[tuple[Arrival, str | None]] = []
        self.asked: list[str] = []
        self.parked = Parked(
            self.clock, 3, PATIENCE, lambda *one: self.tried.append(one), self.asked.append
        )

    def tick(self, seconds: float = TICK) -> None:
        self.clock.pump([seconds, 0])


@pytest.fixture
def room() -> Room:
    return Room()


def arrival() -> Arrival:
    return Arrival(socket.socket(), "192.0.2.1")


def test_they_are_brought_to_their_server_in_order_as_many_as_it_takes(room: Room) -> None:
    first, second, third = (arrival() for _ in range(3))
    for one in (first, second, third):
        assert room.parked.add(one, "s1")
    taken: list[Arrival] = []

    def take(one: Arrival) -> bool:
        if len(taken) < 2:
            taken.append(one)
        return one in taken

    room.parked.pass_on("s2", take)
    assert taken == []
    room.parked.pass_on("s1", take)
    assert taken == [first, second]
    assert room.parked.waits_for("s1")
    assert room.parked.leave("s1") == deque([third])
    assert not room.parked.waits_for("s1")
    for one in (first, second, third):
        one.close()


def test_one_too_many_for_a_server_is_told_so_and_one_for_any_makes_the_oldest_close(
    room: Room,
) -> None:
    waiting = [arrival() for _ in range(8)]
    assert [room.parked.add(one, "s1") for one in waiting[:4]] == [True, True, True, False]
    assert [room.parked.add(one, None) for one in waiting[4:]] == [True] * 4
    assert [one.socket.fileno() == -1 for one in waiting] == [False] * 4 + [True] + [False] * 3
    waiting[3].close()
    room.parked.close_all()
    assert len(room.parked) == 0
    assert all(one.socket.fileno() == -1 for one in waiting)
    room.tick(100)
    assert room.tried == []
    assert room.clock.calls == []


def test_who_waits_for_any_server_is_tried_again_at_every_tick_and_given_up_in_the_end(
    room: Room,
) -> None:
    one = arrival()
    for ticks in range(1, round(PATIENCE / TICK) + 1):
        assert room.parked.add(one, None)
        room.tick()
        assert room.tried == [(one, None)] * ticks
    assert not room.parked.add(one, None)
    one.close()


def test_who_waits_for_a_busy_server_goes_elsewhere_when_that_takes_too_long(room: Room) -> None:
    one = arrival()
    room.parked.add(one, "s1")
    for _ in range(round(PATIENCE / TICK) - 1):
        room.tick()
        assert room.tried == []
    room.tick()
    assert room.tried == [(one, "s1")]
    assert len(room.parked) == 0
    assert set(room.asked) == {"s1"}  # it was looked at again at every tick
    one.close()


def test_a_pause_of_this_process_is_held_against_nobody(room: Room) -> None:
    one = arrival()
    room.parked.add(one, "s1")
    room.tick(60)
    room.tick(60)
    assert room.tried == []
    room.parked.close_all()
