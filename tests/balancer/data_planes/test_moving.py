"""Bytes from one socket to another: copied or spliced, and no more of them held than promised."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from homing.balancer.data_planes.flow_state import FlowEvent, FlowState, Pause
from homing.balancer.data_planes.moving import BUFFER, SPLICE_FROM, End, Flow, Mover
from homing.balancer.data_planes.spare_pipes import MOST, SIZE, SparePipes
from homing.balancer.descriptor_reserve import DescriptorReserve
from tests.reactor import HOST
from tests.tls import reset


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of one connection, non-blocking."""
    with socket.create_server((HOST, 0)) as port:
        one = socket.create_connection(port.getsockname())
        other, _ = port.accept()
    for end in (one, other):
        end.setblocking(False)
    return one, other


class World:
    """A speaker, a hearer, and the flow between them."""

    def __init__(self, stack: ExitStack) -> None:
        self.speaker, source = tcp_pair()
        self.hearer, sink = tcp_pair()
        for one in (self.speaker, source, self.hearer, sink):
            stack.enter_context(one)
        reserve = DescriptorReserve()
        stack.callback(reserve.close)
        self.pipes = SparePipes(reserve)
        stack.callback(self.pipes.close)
        self.flow = Flow(End(source), End(sink))
        self.mover = Mover(self.pipes)
        self.spliced = False
        stack.callback(self.flow.drop, self.pipes)

    def move(self) -> FlowEvent | Pause:
        """As when epoll says that there may be something."""
        self.flow.source.readable = True
        stop = self.mover.move(self.flow)
        self.spliced |= self.flow.splices
        assert len(self.flow.held) <= BUFFER
        assert self.flow.in_pipe <= SIZE
        return stop

    def carry(self, data: bytes) -> bytes:
        """What comes of `data` at the other end, read now and then."""
        got, left = b"", memoryview(data)
        while len(got) < len(data):
            with suppress(BlockingIOError):
                left = left[self.speaker.send(left) :]
            assert self.move() in Pause
            with suppress(BlockingIOError):
                while part := self.hearer.recv(300_000):
                    got += part
        return got


@pytest.fixture(name="world")
def world_() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


BULK = random.Random(7).randbytes(1 << 20) * 6
"""Bytes of which each megabyte is like no other place in it."""


def test_small_exchanges_are_copied(world: World) -> None:
    for _ in range(2 * SPLICE_FROM // 1000):
        assert world.carry(b"x" * 1000) == b"x" * 1000
    assert not world.spliced


def test_bulk_is_spliced_and_arrives_unchanged(world: World) -> None:
    assert world.carry(BULK) == BULK
    assert world.spliced


def test_a_flow_that_is_no_bulk_any_more_gives_its_pipe_back(world: World) -> None:
    assert world.carry(BULK) == BULK
    for _ in range(3):
        assert world.carry(b"small") == b"small"
    assert world.flow.pipe is None
    assert not world.flow.splices
    assert world.carry(BULK) == BULK


def test_without_pipes_bulk_is_copied(world: World) -> None:
    taken = [world.pipes.take() for _ in range(MOST)]
    assert world.pipes.take() is None
    assert world.carry(BULK) == BULK
    assert world.flow.pipe is None
    for pipe in taken:
        assert pipe is not None
        world.pipes.give_back(pipe, is_empty=True)
    assert world.carry(BULK) == BULK


def test_new_connections_go_before_pipes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DescriptorReserve, "has", lambda self, needed: False)
    assert world.carry(BULK) == BULK
    assert world.flow.pipe is None


def test_out_of_descriptors_bulk_is_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", no_more)
    assert world.carry(BULK) == BULK


def test_a_pipe_with_bytes_in_it_is_lent_to_nobody_else(world: World) -> None:
    fill(world)
    assert world.flow.in_pipe
    world.flow.drop(world.pipes)
    again = world.pipes.take()
    assert again is not None
    with pytest.raises(BlockingIOError):
        os.read(again.reads, 1)
    world.pipes.give_back(again, is_empty=True)


def test_pipes_that_nobody_needs_are_closed(world: World) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    pipes = [world.pipes.take() for _ in range(MOST)]
    for pipe in pipes:
        assert pipe is not None
        world.pipes.give_back(pipe, is_empty=True)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 20
    world.pipes.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4, "only the reserve"


def fill(world: World) -> int:
    """Speak until nothing moves any more; how many bytes."""
    said = 0
    while True:
        with suppress(BlockingIOError):
            said += world.speaker.send(BULK[said % (1 << 20) :])
            world.move()
            continue
        if world.move() is Pause.FULL:
            return said


def test_a_hearer_that_hears_nothing_stops_the_flow_and_loses_nothing(world: World) -> None:
    said = fill(world)
    assert world.move() is Pause.FULL
    got = b""
    while len(got) < said:
        with suppress(BlockingIOError):
            got += world.hearer.recv(1 << 20)
        world.move()
    assert got == (BULK * (said // len(BULK) + 1))[:said]


@pytest.mark.parametrize("size", [0, 10, len(BULK) // 2])
def test_an_end_comes_after_everything(world: World, size: int) -> None:
    assert world.carry(BULK[:size]) == BULK[:size]
    world.speaker.shutdown(socket.SHUT_WR)
    assert world.move() is FlowEvent.SOURCE_ENDED
    world.flow.state = FlowState.ENDING
    assert world.move() is FlowEvent.GIVEN_ALL


def test_what_was_said_before_a_reset_is_moved_first(world: World) -> None:
    world.speaker.send(b"last words")
    reset(world.speaker)
    world.flow.source.hung = True  # as epoll says
    assert world.move() is FlowEvent.SOURCE_LOST
    assert world.hearer.recv(100) == b"last words"


def test_a_hearer_that_is_gone_is_told_of(world: World) -> None:
    reset(world.hearer)
    world.speaker.send(b"anybody there?")
    assert world.move() is FlowEvent.SINK_LOST


def test_what_is_for_nobody_is_thrown_away_turn_by_turn(world: World) -> None:
    world.flow.state = FlowState.LOST
    assert world.move() is Pause.DRY
    world.speaker.send(b"anybody there?")
    assert world.move() is Pause.TURN_OVER
    world.speaker.shutdown(socket.SHUT_WR)
    assert world.move() is FlowEvent.SOURCE_ENDED


def test_who_overhears_hears_everything_until_it_has_heard_enough(world: World) -> None:
    heard = b""

    def overhear(data: bytes) -> bool:
        nonlocal heard
        heard += data
        return len(heard) < len(BULK)

    world.flow.overhear = overhear
    assert world.carry(BULK) == BULK
    assert heard == BULK
    assert not world.spliced
    assert world.carry(BULK) == BULK
    assert world.spliced
