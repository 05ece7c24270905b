"""What is too much is closed as it is accepted, and nothing else is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.limits import BURST, MOST_SOURCES
from homing.balancer.options import BalancerOptions
from homing.balancer.overload import RECOUNT, Overload
from homing.balancer.routing import Reason
from homing.balancer.routing_log import NOBODY
from homing.shared.handoff import ACCEPTED, ENDED
from tests.balancer.running import (
    HELLO,
    OPTIONS,
    One,
    closes_within,
    connect,
    counted,
    is_served,
    serving,
)
from tests.reactor import WITHIN, call

HOME = "192.0.2.1"


def limits(connections: int, rate: float) -> BalancerOptions:
    return attrs.evolve(OPTIONS, max_connections=connections, max_source_rate=rate)


class World:
    """A farm whose servers have `open` connections, and what was refused."""

    def __init__(self, connections: int = 0, rate: float = 0.0) -> None:
        self.open = 0
        self.counts = 0
        self.refused: list[tuple[str, Reason]] = []
        self.overload = Overload(
            self._count,
            lambda source, why: self.refused.append((source, why)),
            limits(connections, rate),
        )

    def _count(self) -> int:
        self.counts += 1
        return self.open

    def come(self, times: int, source: str = HOME, now: float = 0.0, batch: int = 64) -> int:
        """How many of so many new connections are admitted; those are open then."""
        admitted = 0
        for begun in range(0, times, batch):
            self.overload.begin(now)
            some = min(batch, times - begun)
            for _ in range(some):
                here = self.overload.admits(source, now)
                self.open += here
                admitted += here
        return admitted


@pytest.mark.parametrize("batch", [1, 64])
def test_as_many_as_are_allowed_are_open_and_not_one_more(batch: int) -> None:
    world = World(connections=100)
    assert sum(world.come(10, batch=batch) for _ in range(20)) == 100
    assert world.refused == [(HOME, Reason.TOO_MANY_OPEN)] * 100


def test_who_leaves_makes_room_at_once() -> None:
    world = World(connections=100)
    world.come(200)
    world.open -= 30
    assert world.come(50) == 30


def test_those_that_only_wait_take_no_room_from_others_that_come_with_them() -> None:
    world = World(connections=10)
    world.overload.begin(0.0)
    assert all(world.overload.admits(HOME, 0.0) for _ in range(55))
    assert world.open == 0


def test_what_servers_bring_along_counts_after_a_moment() -> None:
    world = World(connections=100)
    world.come(1)
    world.open += 95
    assert world.come(50, now=RECOUNT) == 4


def test_while_there_is_room_servers_are_not_asked_for_every_batch() -> None:
    world = World(connections=100_000)
    world.come(1000, batch=1)
    assert world.counts == 1


def test_a_source_has_its_rate_and_a_burst_and_others_do_not_suffer() -> None:
    world = World(rate=10)
    assert world.come(1000) == 10 * BURST
    assert world.come(1000, now=1.0) == 10
    assert Counter(world.refused) == {(HOME, Reason.TOO_MANY_FROM_SOURCE): 2000 - 10 * BURST - 10}
    assert world.come(10, source="192.0.2.2", now=1.0) == 10


def test_whoever_has_a_whole_ipv6_network_is_one_source() -> None:
    world = World(rate=1)
    assert sum(world.come(1, source=f"2001:db8::{n:x}") for n in range(100)) == BURST
    assert world.come(1, source="2001:db8:0:1::1") == 1


def test_a_flood_from_one_source_takes_no_room_from_others() -> None:
    world = World(connections=100, rate=1)
    world.come(1000)
    assert world.come(5, source="192.0.2.2") == 5


def test_a_flood_from_many_sources_takes_little_memory() -> None:
    world = World(rate=1)
    for number in range(2 * MOST_SOURCES):
        world.come(1, source=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(world.overload._sources) == MOST_SOURCES


def test_without_limits_everybody_is_admitted_and_nothing_is_counted() -> None:
    world = World()
    assert world.come(10_000) == 10_000
    assert world.counts == 0


def test_limits_that_are_set_and_taken_away_in_mid_run_hold_from_then() -> None:
    world = World()
    world.come(500)
    world.overload.renew(limits(100, 0.0))
    assert world.come(10) == 0
    world.overload.renew(limits(1000, 1.0))
    assert world.come(10) == BURST
    world.overload.renew(limits(0, 0.0))
    assert world.come(2000) == 2000


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40))))
def test_however_they_come_and_go_there_are_never_more_than_allowed(
    most: int, turns: list[tuple[int, int]]
) -> None:
    world = World(connections=most)
    for come, go in turns:
        world.come(come, batch=7)
        assert world.open <= most
        world.open -= min(go, world.open)
    world.overload.begin(0.0)
    assert world.overload.admits(HOME, 0.0) is (world.open < most)


@pytest.mark.parametrize("one", [{"max_connections": 2}], indirect=True)
def test_a_connection_too_many_is_closed_without_a_look_at_its_hello(one: One) -> None:
    balancer, address, server = one
    held = []
    for _ in range(2):
        client = connect(address, HELLO)
        held.append((client, server.take()))
        server.link.sendall(ACCEPTED)
    with connect(address, b"\x16") as third:  # of a hello that will never be whole
        closes_within(third, WITHIN)
    counted(balancer, NOBODY, Reason.TOO_MANY_OPEN, 1)
    for client, taken in held:
        client.close()
        taken.close()
        server.link.sendall(ENDED)
    call(balancer.renew, attrs.evolve(OPTIONS, max_connections=3), None)
    is_served(address, server)


def test_a_source_too_fast_is_closed_and_counted_until_the_limit_goes(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, 1, max_source_rate=0.2) as (balancer, address, (server,)):
        is_served(address, server)
        for _ in range(5):
            with connect(address, HELLO) as client:
                closes_within(client, WITHIN)
        counted(balancer, NOBODY, Reason.TOO_MANY_FROM_SOURCE, 5)
        call(balancer.renew, OPTIONS, None)
        is_served(address, server)


@pytest.mark.parametrize("one", [{"hello_timeout": 0.5}], indirect=True)
def test_a_hello_that_does_not_come_in_time_is_counted(one: One) -> None:
    balancer, address, _ = one
    with connect(address, HELLO[:20]) as client:
        closes_within(client, WITHIN)
    counted(balancer, NOBODY, Reason.NO_HELLO, 1)
