"""Which servers are said to be up and down, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from homing.balancer.availability import OPENING, Availability
from tests.balancer.running import serving
from tests.logs import log
from tests.reactor import eventually


class Plane:
    """As much of a data plane as is needed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = False
        self.active = 0


class World:
    """The availability of two servers, and what they say."""

    def __init__(self, lines: list[str]) -> None:
        self.clock = Clock()
        self.lines = lines
        self.planes = {name: Plane(name) for name in ("s1", "s2")}
        self.availability = Availability(
            self.clock,
            self.planes,  # type: ignore[arg-type]
            lambda: lines.append("begun"),
        )
        self.availability.start()

    def now(self, *up: str) -> None:
        """These servers are up, and no others."""
        for name, plane in self.planes.items():
            plane.up = name in up
        self.availability.changed()


@pytest.fixture(name="world")
def world_() -> Iterator[World]:
    with log("homing.balancer.availability") as lines:
        yield World(lines)


def test_the_beginning_is_one_line_when_all_are_up(world: World) -> None:
    world.now("s1")
    assert world.lines == []
    world.now("s1", "s2")
    assert world.lines == ["begun"]
    world.clock.advance(100)
    assert world.lines == ["begun"]


def test_who_is_missing_is_not_waited_for_and_said_when_it_comes(world: World) -> None:
    world.now("s1")
    world.clock.advance(OPENING)
    assert world.lines == ["begun"]
    world.now("s1", "s2")
    assert world.lines == ["begun", "s2 is up, with 0 connections"]


@pytest.mark.parametrize("away", [0, 1])
def test_a_server_that_goes_is_said_to_be_down_and_up_again(world: World, away: float) -> None:
    world.now("s1", "s2")
    world.now("s2")
    world.clock.advance(away)
    world.now("s1", "s2")
    world.clock.advance(1)
    assert world.lines[1:] == ["s1 is down", "s1 is up, with 0 connections"]


def test_when_all_stop_together_no_server_is_said_to_be_down(world: World) -> None:
    world.now("s1", "s2")
    world.now()
    world.availability.stop()
    world.clock.advance(10)
    world.now("s1")
    assert world.lines == ["begun"]
    assert not world.clock.getDelayedCalls()


def test_a_balancer_tells_where_it_listens_and_whom_it_loses(tmp_path: Path) -> None:
    with log("homing.balancer") as lines, serving(tmp_path, 1) as (_, (host, port), servers):
        assert lines == [f"listens at {host}:{port}; 1 of 1 server is up; table 130 has 2 entries"]
        servers[0].die()
        eventually(lambda: "s1 is down" in lines)
