"""A balancer's processes and their successors, without processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket
from unittest.mock import Mock

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from homing.farm.config.sections import BalancerSection
from homing.farm.processes.inherited import FIRST_SOCKET, READY, RETIRED
from homing.farm.processes.workers import RETIRE_TIMEOUT, START_TIMEOUT, Place, Workers


class Reactor(Clock):
    """Starts nothing, and remembers what it was to start."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[list[str], dict[int, int], Mock]] = []

    def spawnProcess(
        self, protocol: object, name: str, command: list[str], env: None, childFDs: dict[int, int]
    ) -> Mock:
        """As IReactorProcess."""
        process = Mock(pid=100 + len(self.started))
        self.started.append((command, childFDs, process))
        return process


class Running:
    """Two workers that are ready."""

    def __init__(self, sockets: list[socket]) -> None:
        self.reactor = Reactor()
        self.changed = Mock()
        config = Mock(path=Path("farm.toml"), balancer=BalancerSection())
        self.workers = Workers(
            self.reactor,  # type: ignore[arg-type]
            "b",
            [[one] for one in sockets],
            config=lambda: config,
            inherits=dict,
            changed=self.changed,
        )
        self.workers.start()
        for one in self.workers.children:
            one.ready()
        self.said: list[str] = []
        self.failed: list[str] = []

    def roll(self) -> None:
        rolling = Deferred.fromCoroutine(self.workers.roll(60, self.said.append))
        rolling.addErrback(lambda failure: self.failed.append(failure.getErrorMessage()))

    def name(self, at: int) -> str:
        """The name of what was started as number `at`."""
        command = self.reactor.started[at][0]
        return command[command.index("--name") + 1]

    @property
    def alive(self) -> list[str]:
        return [one.name for one in self.workers.children]


@pytest.fixture(name="running")
def running_() -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running([stack.enter_context(socket()) for _ in range(2)])


def test_two_processes_of_a_place_never_have_one_name_but_one_saved_table() -> None:
    first, second = Place(1, ()), Place(2, ())
    assert [first.suffix(generation) for generation in range(3)] == ["", ".b", ""]
    assert [second.suffix(generation) for generation in range(3)] == [".2", ".2.b", ".2"]
    assert (first.saved_suffix, second.saved_suffix) == ("", ".2")


def test_a_successor_gets_the_socket_of_the_one_before(running: Running) -> None:
    running.roll()
    sockets = [descriptors[FIRST_SOCKET] for _, descriptors, _ in running.reactor.started]
    assert sockets[2] == sockets[0] != sockets[1]
    assert [running.name(at) for at in range(3)] == ["b", "b.2", "b.b"]


def test_nobody_stops_to_accept_before_a_successor_accepts(running: Running) -> None:
    old = running.workers.children[:]
    processes = [process for _, _, process in running.reactor.started]
    running.roll()
    successor = running.workers._successor
    assert successor is not None
    processes[0].writeToChild.assert_not_called()
    successor[0].reached(READY)
    processes[0].writeToChild.assert_called_once_with(0, b"retire 60\n")
    assert running.alive == ["balancer.b", "balancer.2"]
    assert len(running.reactor.started) == 3  # the next one not before this one has handed over
    old[0].reached(RETIRED)
    assert running.name(3) == "b.2.b"
    assert not running.failed


def test_one_that_hangs_is_killed_and_the_rest_goes_on(running: Running) -> None:
    running.roll()
    assert running.workers._successor is not None
    running.workers._successor[0].reached(READY)
    running.reactor.advance(BalancerSection().hello_timeout + RETIRE_TIMEOUT)
    running.reactor.started[0][2].signalProcess.assert_called_once_with(9)


@pytest.mark.parametrize("ends", [True, False])
def test_a_successor_that_does_not_start_leaves_all_as_it_was(running: Running, ends: bool) -> None:
    running.roll()
    assert running.workers._successor is not None
    if ends:
        running.workers._successor[0].said(b"ImportError: no such module", "warn")
        running.workers._successor[0].ended("exit status 1")
    else:
        running.reactor.advance(START_TIMEOUT)
    why = "exit status 1: ImportError: no such module" if ends else "not in 30 s"
    assert running.failed == [
        f"balancer.b does not become ready: {why}; the processes before go on"
    ]
    assert running.alive == ["balancer", "balancer.2"]
    running.reactor.started[0][2].writeToChild.assert_not_called()


def test_two_reloads_at_once_are_refused(running: Running) -> None:
    running.roll()
    running.roll()
    assert running.failed == ["another reload is under way"]


def test_a_worker_that_is_down_is_waited_for(running: Running) -> None:
    running.workers.children[1].ended("SIGKILL")
    running.roll()
    assert running.failed == ["not now, as balancer.2 is not ready: try again"]


def test_a_stop_ends_those_too_that_have_retired(running: Running) -> None:
    running.roll()
    assert running.workers._successor is not None
    running.workers._successor[0].reached(READY)
    running.workers.stop(4.5)
    for _, _, process in running.reactor.started:
        process.closeChildFD.assert_called_once_with(0)


def test_one_that_died_meanwhile_is_not_asked_to_retire_when_it_starts_again(
    running: Running,
) -> None:
    first, second = running.workers.children
    running.roll()
    second.ended("SIGKILL")
    running.reactor.advance(1)  # it starts again, and has not begun
    again = running.reactor.started[3][2]
    assert running.workers._successor is not None
    running.workers._successor[0].reached(READY)
    first.reached(RETIRED)
    assert running.workers._successor is not None
    running.workers._successor[0].reached(READY)
    again.writeToChild.assert_not_called()
    again.closeChildFD.assert_called_once_with(0)
    again.signalProcess.assert_called_once_with(signal.SIGTERM)


def test_no_successor_starts_in_a_balancer_that_stops(running: Running) -> None:
    old = running.workers.children[0]
    running.roll()
    assert running.workers._successor is not None
    running.workers._successor[0].reached(READY)
    running.workers.close()
    running.workers.stop(4.5)
    started = len(running.reactor.started)
    old.ended("exit status 0")
    running.roll()
    assert len(running.reactor.started) == started
    assert running.failed == ["the balancer stops"] * 2


def test_a_successor_that_is_ready_as_its_balancer_stops_takes_no_place(running: Running) -> None:
    running.roll()
    assert running.workers._successor is not None
    successor = running.workers._successor[0]
    running.workers.stop(4.5)
    successor.reached(READY)
    assert running.alive == ["balancer", "balancer.2"]
    assert running.failed == ["the balancer stops"]
    for _, _, process in running.reactor.started:
        process.closeChildFD.assert_called_once_with(0)
