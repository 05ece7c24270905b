"""Clients that do not finish their hello cost little, and never long."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.balancer import hello_watch
from homing.balancer.client_connection import ClientConnection
from homing.balancer.routing import Reason
from homing.balancer.waiting import For
from tests.balancer.running import (
    HELLO,
    One,
    balancing,
    closes_within,
    connect,
    counted,
    is_served,
    waits,
)
from tests.logs import log
from tests.reactor import HOST, Blocked, call, eventually, timers
from tests.sample_hellos import large_hello, message, records, sample, take_apart
from tests.tls import reset, tcp_pair

TIMEOUT = 0.6

short = pytest.mark.parametrize("one", [{"hello_timeout": TIMEOUT}], indirect=True)


@short
def test_a_hello_cut_anywhere_ends_at_its_deadline_and_others_are_served(one: One) -> None:
    balancer, address, server = one
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect(address, HELLO[:cut])) for cut in range(1, len(HELLO))
        ]
        is_served(address, server)
        for client in clients:
            closes_within(client, 20)
        waits(balancer, 0)
        is_served(address, server)


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_client_that_leaves_within_its_hello_is_forgotten_before_the_deadline(
    leave: Callable[[socket.socket], None],
) -> None:
    with balancing({}, hello_timeout=60) as (balancer, address):
        for cut in range(1, len(HELLO), 3):
            client = connect(address, HELLO[:cut])
            waits(balancer, 1)
            leave(client)
            waits(balancer, 0)


@short
def test_a_hello_that_goes_on_in_two_parts_is_served_wherever_it_was_cut(one: One) -> None:
    balancer, address, server = one
    for cut in range(1, len(HELLO), 10):
        with connect(address, HELLO[:cut]) as client:
            waits(balancer, 1)
            client.sendall(HELLO[cut:])
            assert server.serve() == HELLO
            assert client.recv(100) == b"served"


@short
def test_a_hello_whose_rest_comes_while_the_balancer_stands_still_is_served(one: One) -> None:
    balancer, address, server = one
    with connect(address, HELLO[:50]) as client:
        waits(balancer, 1)
        with Blocked():
            time.sleep(3 * TIMEOUT)
            client.sendall(HELLO[50:])
        assert server.serve() == HELLO
        assert client.recv(100) == b"served"


@short
def test_a_hello_in_one_byte_records_is_served(one: One) -> None:
    body = take_apart(sample("gnutls-resume-psk").body).body
    wire = records(message(body), [1])
    _, address, server = one
    with connect(address) as client:
        for at in range(0, len(wire), 600):
            client.sendall(wire[at : at + 600])
            time.sleep(0.005)  # not to have it all in one segment
        with server.take() as connection:
            assert connection.recv(65536, socket.MSG_WAITALL | socket.MSG_PEEK)[:5] == wire[:5]
            server.link.sendall(b"+-")
    assert len(wire) > 1200 * 3


@short
def test_a_browsers_large_hello_is_served_though_it_comes_in_small_segments(one: One) -> None:
    _, address, server = one
    hello = large_hello()
    with connect(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(hello), 100):
            client.sendall(hello[at : at + 100])
        assert server.serve() == hello


@short
def test_the_server_can_read_single_bytes_of_a_connection_that_had_to_wait(one: One) -> None:
    balancer, address, server = one
    with connect(address, HELLO[:50]) as client:
        waits(balancer, 1)
        client.sendall(HELLO[50:])
        with server.take() as connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
            server.link.sendall(b"+-")


@short
def test_stalled_clients_do_not_keep_the_balancer_busy(
    one: One, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address, _ = one
    looks = 0
    look = hello_watch.HelloWatch.doRead

    def counted(self: hello_watch.HelloWatch) -> None:
        nonlocal looks
        looks += 1
        look(self)

    monkeypatch.setattr(hello_watch.HelloWatch, "doRead", counted)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address, HELLO[:100])) for _ in range(50)]
        for client in clients:
            closes_within(client, 20)
    assert looks <= 100


def test_when_too_many_wait_the_one_that_waited_longest_goes_and_is_counted_and_said() -> None:
    with (
        balancing({}, hello_timeout=60, max_waiting=3) as (balancer, address),
        log("homing.balancer") as said,
        ExitStack() as all_,
    ):
        clients = []
        for number in range(5):
            clients.append(all_.enter_context(connect(address, HELLO[:9])))
            waits(balancer, min(3, number + 1))
        for gone in clients[:2]:
            closes_within(gone, 20)
        for kept in clients[2:]:
            kept.setblocking(False)
            with pytest.raises(BlockingIOError):
                kept.recv(1)
        waits(balancer, 3)
        counted(balancer, "", Reason.CROWDED_OUT, 2)
    assert [line for line in said if "too many" in line] == [
        "connections closed as too many connections wait: 1"
    ]


def test_a_stopped_balancer_leaves_no_timer_behind(tmp_path: Path) -> None:
    before = len(timers())
    with balancing({}, hello_timeout=30) as (balancer, address), connect(address, HELLO[:9]):
        waits(balancer, 1)
        call(balancer.stopService)
        eventually(lambda: len(timers()) <= before, "timers are gone", 5)


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_client_that_leaves_without_a_word_is_forgotten_without_an_error(
    leave: Callable[[socket.socket], None],
) -> None:
    with (
        balancing({}, hello_timeout=60) as (balancer, _),
        tcp_pair() as (gone, left),
        tcp_pair() as (client, accepted),
    ):
        dispatch = balancer.dispatch
        call(dispatch.receive, ClientConnection(left, HOST))
        number = left.fileno()
        leave(gone)
        eventually(lambda: left.fileno() == -1, "it is forgotten")
        assert len(dispatch.waiting) == 0
        os.dup2(accepted.fileno(), number)  # the next client gets the descriptor it had
        call(dispatch.receive, ClientConnection(socket.socket(fileno=number), HOST))
        client.sendall(HELLO)
        eventually(lambda: dispatch.waiting.queue(For.ANY_SERVER), "the next client is noticed", 5)
