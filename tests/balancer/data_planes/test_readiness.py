"""One epoll for all relayed connections: each is woken, and none by the fault of another."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from homing.balancer.data_planes.readiness import Readiness
from tests.reactor import call, eventually, reactor


class Sleeper:
    """Writes down what wakes it."""

    def __init__(self) -> None:
        self.woken_by: list[tuple[int, int]] = []
        self.turns = 0
        self.aborted = 0
        self.fails = False

    def woken(self, fd: int, events: int) -> None:
        self.woken_by.append((fd, events))
        if self.fails:
            raise RuntimeError("a fault of ours")

    def go_on(self) -> None:
        self.turns += 1
        if self.fails:
            raise RuntimeError("a fault of ours")

    def abort(self) -> None:
        self.aborted += 1


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(name="readiness")
def readiness_() -> Iterator[Readiness]:
    made = Readiness(reactor())
    yield made
    call(made.close)


@pytest.fixture(name="pair")
def pair_() -> Iterator[Pair]:
    with ExitStack() as stack:
        one, other = socket.socketpair()
        yield stack.enter_context(one), stack.enter_context(other)


def test_one_is_woken_each_time_something_comes(readiness: Readiness, pair: Pair) -> None:
    sleeper = Sleeper()
    call(readiness.watch, pair[0].fileno(), sleeper)
    pair[1].send(b"x")
    eventually(lambda: len(sleeper.woken_by) == 1)
    pair[1].send(b"x")
    eventually(lambda: len(sleeper.woken_by) == 2)
    fd, events = sleeper.woken_by[0]
    assert fd == pair[0].fileno()
    assert events & select.EPOLLIN


def test_one_is_told_that_it_can_write_when_it_asks(readiness: Readiness, pair: Pair) -> None:
    sleeper = Sleeper()
    call(readiness.watch, pair[0].fileno(), sleeper)
    assert not sleeper.woken_by
    call(readiness.watch_writing, pair[0].fileno())
    eventually(lambda: any(events & select.EPOLLOUT for _, events in sleeper.woken_by))


@pytest.mark.defect
def test_a_fault_of_one_ends_it_and_no_other(readiness: Readiness, pair: Pair) -> None:
    faulty, sound = Sleeper(), Sleeper()
    faulty.fails = True
    call(readiness.watch, pair[0].fileno(), faulty)
    call(readiness.watch, pair[1].fileno(), sound)
    pair[1].send(b"x")
    pair[0].send(b"x")
    eventually(lambda: sound.woken_by)
    eventually(lambda: faulty.aborted == 1)
    call(readiness.later, faulty)
    call(readiness.later, sound)
    eventually(lambda: sound.turns == 1)
    assert faulty.aborted == 2


def test_who_is_forgotten_or_finished_is_left_alone(readiness: Readiness, pair: Pair) -> None:
    gone, there = Sleeper(), Sleeper()
    call(readiness.watch, pair[0].fileno(), gone)
    call(readiness.watch, pair[1].fileno(), there)
    call(readiness.forget, pair[0].fileno())

    def finish() -> None:
        readiness.later(gone)
        readiness.later(there)
        readiness.finished(gone)

    call(finish)
    pair[1].send(b"x")
    pair[0].send(b"x")
    eventually(lambda: there.woken_by and there.turns == 1)
    assert gone.woken_by == []
    assert gone.turns == 0


def test_the_next_one_at_a_descriptor_is_woken_instead(readiness: Readiness, pair: Pair) -> None:
    before, after = Sleeper(), Sleeper()
    call(readiness.watch, pair[0].fileno(), before)
    call(readiness.pass_to, pair[0].fileno(), after)
    pair[1].send(b"x")
    eventually(lambda: after.woken_by)
    assert before.woken_by == []
