"""Connections to servers: made without waiting for them, and given up in time."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.connecting import Connecting, address
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import DescriptorReserve
from tests.reactor import HOST, Blocked, call, eventually, reactor, timers

CLIENT = ClientConnection(socket.socket(), HOST)


class World:
    """Connections that are asked for, and what comes of them."""

    def __init__(self, stack: ExitStack, seconds: float = 20.0) -> None:
        reserve = DescriptorReserve()
        self.traffic = Traffic(reactor(), reserve)
        self.connecting = Connecting(self.traffic, seconds)
        self.reached: list[tuple[socket.socket, bool]] = []
        self.failed: list[int | None] = []
        stack.callback(reserve.close)
        stack.callback(lambda: call(self.traffic.close))
        stack.callback(self._close)
        stack.callback(lambda: call(self.connecting.stop))

    def _reached(self, client: ClientConnection, server: socket.socket, is_watched: bool) -> None:
        assert client is CLIENT
        self.reached.append((server, is_watched))

    def _failed(self, client: ClientConnection, error: OSError) -> None:
        assert client is CLIENT
        self.failed.append(error.errno)

    def _close(self) -> None:
        for server, is_watched in self.reached:
            if is_watched:
                call(self.traffic.readiness.forget, server.fileno())
            server.close()

    def connect(self, to: tuple[str, int]) -> None:
        """Ask for one; checks that no failure is told before it returns."""

        def connect() -> None:
            before = len(self.failed)
            self.connecting.connect(CLIENT, address(*to), self._reached, self._failed)
            assert len(self.failed) == before, "the caller is not ready for that"

        call(connect)


@pytest.fixture(name="stack")
def stack_() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@contextmanager
def overcrowded() -> Iterator[socket.socket]:
    """A port whose queue is full, so that a connection to it does not come about."""
    with socket.create_server((HOST, 0), backlog=0) as port, ExitStack() as stack:
        stack.enter_context(socket.create_connection(port.getsockname()))
        yield port


def test_a_server_on_this_machine_is_reached_at_once(stack: ExitStack) -> None:
    world = World(stack)
    with socket.create_server((HOST, 0)) as port:
        world.connect(port.getsockname())
        ((server, is_watched),) = world.reached
        assert server.getpeername() == port.getsockname()
        assert not is_watched


def test_one_that_refuses_is_told_of_later(stack: ExitStack) -> None:
    world = World(stack)
    with socket.create_server((HOST, 0)) as port:
        closed = port.getsockname()
    world.connect(closed)
    eventually(lambda: world.failed == [errno.ECONNREFUSED])


def test_one_that_does_not_answer_is_given_up_in_time_and_nobody_waits_for_it(
    stack: ExitStack,
) -> None:
    world = World(stack, seconds=0.4)
    with overcrowded() as port:
        world.connect(port.getsockname())
        assert not world.reached
        eventually(lambda: world.failed == [errno.ETIMEDOUT])
    assert not world.reached


def test_one_that_answers_late_is_reached_all_the_same(stack: ExitStack) -> None:
    world = World(stack)
    with overcrowded() as port:
        world.connect(port.getsockname())
        assert not world.reached
        while not world.reached:
            port.accept()[0].close()
            eventually(lambda: world.reached)  # the kernel tries again after a second
        assert world.reached[0][1]
        assert not world.failed


def test_one_that_answers_while_the_balancer_stands_still_is_reached(stack: ExitStack) -> None:
    world = World(stack, seconds=1.2)
    with overcrowded() as port:
        world.connect(port.getsockname())
        with Blocked():
            port.accept()[0].close()
            port.settimeout(20)
            port.accept()[0].close()  # the kernel tries again after a second
            time.sleep(1.5)  # longer than it may take
        eventually(lambda: world.reached or world.failed)
        assert not world.failed


def test_what_is_under_way_at_a_stop_is_given_up(stack: ExitStack) -> None:
    before = len(timers())
    world = World(stack)
    with overcrowded() as port:
        world.connect(port.getsockname())
        call(world.connecting.stop)
        assert world.failed == [errno.ECONNABORTED]
        assert len(timers()) <= before


@pytest.mark.parametrize("host", ["server.test", "localhost"])
def test_a_name_is_never_looked_up_on_the_way(host: str) -> None:
    with pytest.raises(socket.gaierror):
        address(host, 1)


def test_a_link_local_address_keeps_its_zone() -> None:
    assert address("fe80::1%lo", 1).place[3] == socket.if_nametoindex("lo")
