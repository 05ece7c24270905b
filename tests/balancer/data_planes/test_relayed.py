"""A relayed connection by itself: both sides hear of every end."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.connecting import Connecting, address
from homing.balancer.data_planes.overdue import Overdue
from homing.balancer.data_planes.relayed import Relayed
from homing.balancer.data_planes.traffic import Traffic
from homing.balancer.descriptor_reserve import DescriptorReserve
from tests.reactor import HOST, WITHIN, call, eventually, reactor


class World:
    """What relayed connections share."""

    def __init__(self, idle: float = 60.0) -> None:
        self.reserve = DescriptorReserve()
        self.traffic = Traffic(reactor(), self.reserve)
        self.ended: list[Relayed] = []
        self._idle = Overdue(reactor(), idle, Relayed.stands_still)
        self._left = Overdue(reactor(), 60.0, Relayed.stands_still)

    def relay(self, client: socket.socket, server: socket.socket, **more: Any) -> Relayed:
        """Both are then its own."""
        timers = self._idle, self._left
        return Relayed(client, server, self.traffic, *timers, 30.0, self.ended.append, **more)

    def close(self) -> None:
        """Leave nothing."""
        self._idle.stop()
        self._left.stop()
        self.traffic.close()
        self.reserve.close()


@pytest.fixture(name="stack")
def stack_() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection."""
    with socket.create_server((HOST, 0)) as port:
        one = stack.enter_context(socket.create_connection(port.getsockname(), WITHIN))
        return one, stack.enter_context(port.accept()[0])


class Late(socket.socket):
    """Its connection comes about a moment later, as on another machine."""

    tries = 0

    def connect_ex(self, place: Any) -> int:
        self.tries += 1
        number = super().connect_ex(place) if self.tries != 2 else errno.EALREADY
        return errno.EINPROGRESS if self.tries == 1 else number


def test_an_end_that_comes_together_with_the_connection_is_told(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    monkeypatch.setattr(Connecting, "_open", lambda self, family: Late(family, kind))
    world = World()
    stack.callback(call, world.close)
    connecting = Connecting(world.traffic, 20.0)
    stack.callback(call, connecting.stop)
    client, accepted = pair(stack)
    failed: list[OSError] = []

    def reached(one: ClientConnection, server: socket.socket, is_watched: bool) -> None:
        assert is_watched
        world.relay(one.socket, server).start(b"", is_watched)

    with socket.create_server((HOST, 0)) as port:

        def connect() -> socket.socket:
            connecting.connect(
                ClientConnection(accepted, HOST),
                address(*port.getsockname()),
                reached,
                lambda _, error: failed.append(error),
            )
            served, _ = port.accept()
            served.sendall(b"bye")
            served.shutdown(socket.SHUT_WR)
            return served

        with call(connect):
            assert client.recv(4) == b"bye"
            assert client.recv(4) == b""  # or it would wait for an hour
            client.close()
            eventually(lambda: world.ended)
    assert not failed


def test_a_client_whose_copy_lies_with_a_hung_server_hears_of_the_end(stack: ExitStack) -> None:
    world = World(idle=0.2)
    stack.callback(call, world.close)
    client, accepted = pair(stack)
    server, dialled = pair(stack)
    dialled.setblocking(False)
    balancer, hung = socket.socketpair()
    with balancer, hung:
        socket.send_fds(balancer, [b"C"], [accepted.fileno()])
        relayed = call(lambda: world.relay(accepted, dialled, client_is_copied=True))
        call(relayed.start, b"", False)
        assert client.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            server.recv(1)
    eventually(lambda: world.ended == [relayed])
