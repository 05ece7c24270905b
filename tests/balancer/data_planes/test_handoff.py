"""Hand-off: no client is lost or served twice, whatever becomes of a server."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.balancer.data_planes.link import ANSWER_TIMEOUT
from homing.shared.fingerprint import DIGEST_LENGTH
from homing.shared.handoff import ACCEPTED, greeting
from tests.balancer.running import (
    HELLO,
    HandOffServer,
    One,
    Two,
    balancing,
    closes_within,
    connect,
    is_served,
    wait_up,
    waits,
)
from tests.logs import log
from tests.reactor import WITHIN, Blocked, call, eventually, reactor, timers


def test_a_client_of_a_server_that_hangs_is_served_by_another(two: Two) -> None:
    _, address, one, other = two
    with connect(address, HELLO) as client, one.take():
        begun = time.monotonic()
        assert other.serve() == HELLO
        assert time.monotonic() - begun > ANSWER_TIMEOUT / 2
        assert client.recv(100) == b"served"
        with pytest.raises(BrokenPipeError):  # so the one that hung serves it no more
            one.link.sendall(ACCEPTED)


def test_an_answer_that_comes_at_the_last_moment_counts(two: Two) -> None:
    balancer, address, one, other = two
    with connect(address, HELLO) as client, one.take() as connection:
        with Blocked():  # the balancer is busy past the time at which it gives up
            time.sleep(ANSWER_TIMEOUT + 0.1)
            one.link.sendall(ACCEPTED)
        assert connection.recv(65536) == HELLO
        connection.sendall(b"late, but served")
        assert client.recv(100) == b"late, but served"
        other.link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            other.take()
    waits(balancer, 0)


def test_a_client_that_everybody_refuses_is_offered_again(two: Two) -> None:
    _, address, one, other = two
    with connect(address, HELLO) as client:
        one.refuse()
        other.refuse()
        one.refuse()
        assert other.serve() == HELLO
        assert client.recv(100) == b"served"


@pytest.mark.parametrize("one", [{"hello_timeout": 0.5}], indirect=True)
def test_a_client_of_the_only_server_that_hangs_is_closed_in_the_end(one: One) -> None:
    """Though a copy of the connection still lies in the queue of the hung server."""
    with connect(one[1], HELLO) as client:
        assert closes_within(client, 8) < 8


def test_a_client_waits_for_a_server_that_is_about_to_start(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with balancing({"s1": str(path)}) as (_, address), connect(address, HELLO) as client:
        time.sleep(0.1)
        with HandOffServer(path) as server:
            assert server.greet().serve() == HELLO
            assert client.recv(100) == b"served"


def test_a_server_that_comes_back_is_used_again_with_the_connections_it_has(two: Two) -> None:
    balancer, _, one, _ = two
    one.die()
    eventually(lambda: not balancer.planes["s1"].up)
    one.greet(7)
    wait_up(balancer, "s1")
    assert balancer.planes["s1"].active == 7


def test_a_server_that_is_away_is_sought_with_growing_pauses(tmp_path: Path) -> None:
    def longest_pause() -> float:
        pending = [one for one in reactor().getDelayedCalls() if "Deadline" not in str(one)]
        return max((one.getTime() - reactor().seconds() for one in pending), default=0.0)

    with balancing({"s1": str(tmp_path / "s1.sock")}):
        assert call(longest_pause) < 0.3
        eventually(lambda: call(longest_pause) > 0.5, "a longer pause")


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n", b"HOM2" + bytes(4), b"\0" * 70_000])
def test_a_socket_that_is_no_servers_ends_its_own_link_only(two: Two, rubbish: bytes) -> None:
    balancer, address, strange, well = two
    strange.await_link()
    strange.link.send(rubbish)
    closes_within(strange.link, WITHIN)
    assert not balancer.planes["s1"].up
    is_served(address, well)


@pytest.mark.parametrize("rubbish", [b"?", b"+", b"!", b"-+x" * 100])
def test_an_answer_that_makes_no_sense_ends_that_link_only_and_clients_go_elsewhere(
    two: Two, rubbish: bytes
) -> None:
    balancer, address, one, other = two
    one.link.sendall(rubbish)
    eventually(lambda: not balancer.planes["s1"].up or rubbish[:1] == b"-")
    is_served(address, other)
    one.greet()
    wait_up(balancer, "s1")


def test_a_server_that_babbles_is_complained_of_once(two: Two) -> None:
    balancer, _, one, _ = two
    with log("homing.balancer.data_planes.link") as complaints:
        one.link.sendall(b"?" * 1000)
        eventually(lambda: not balancer.planes["s1"].up)
    assert complaints == ["s1 says b'?'"]


def test_a_server_that_never_greets_gets_no_clients_and_is_tried_again(two: Two) -> None:
    balancer, address, mute, well = two
    mute.await_link()
    for _ in range(3):
        is_served(address, well)
    assert mute.link.recv(1) == b""
    mute.greet()
    wait_up(balancer, "s1")


def test_a_greeting_in_pieces_is_a_greeting(one: One) -> None:
    balancer, _, server = one
    server.await_link()
    eventually(lambda: not balancer.planes["s1"].up)
    for byte in greeting(3, bytes(DIGEST_LENGTH)):
        server.link.sendall(bytes([byte]))
        time.sleep(0.01)
    wait_up(balancer, "s1")
    assert balancer.planes["s1"].active == 3


def test_a_busy_server_that_answers_all_the_time_is_not_taken_for_hung(one: One) -> None:
    """A queue may take longer than one answer may; what counts is that it moves."""
    balancer, address, slow = one
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(address, HELLO))
        for _ in range(30):
            time.sleep(0.1)
            assert slow.serve() == HELLO
        assert balancer.planes["s1"].up


@pytest.mark.parametrize("two", [{"policy": "least-connections"}], indirect=True)
def test_least_connections_counts_clients_that_are_on_their_way(two: Two) -> None:
    balancer, address, one, other = two
    other.greet(1)
    eventually(lambda: balancer.planes["s2"].active == 1)
    with ExitStack() as stack:
        with Blocked():
            for _ in range(10):
                stack.enter_context(connect(address, HELLO))
        one.link.settimeout(1)
        other.link.settimeout(1)
        for server in (one, other):
            for _ in range(5):
                server.serve()


def test_a_burst_beyond_what_a_link_holds_is_served(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link takes 128 connections that nobody answers for, so more than both take have to wait."""
    monkeypatch.setattr("homing.balancer.data_planes.link.ANSWER_TIMEOUT", WITHIN)
    _, address, one, other = two
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address, HELLO)) for _ in range(400)]
        taken = 0
        while taken < len(clients):
            for server in (one, other):
                if server.is_asked(0.05):
                    server.serve()
                    taken += 1
        assert [client.recv(100) for client in clients] == [b"served"] * len(clients)


def test_stopping_waits_for_the_answers_and_leaves_nothing(two: Two) -> None:
    balancer, address, one, _ = two
    before = len(timers())
    with connect(address, HELLO) as client, one.take() as connection:
        stopped: list[object] = []
        call(lambda: stopped.append(balancer.stopService()))
        one.link.sendall(ACCEPTED)
        assert connection.recv(65536) == HELLO
        connection.sendall(b"served")
        assert client.recv(100) == b"served"
        eventually(lambda: getattr(stopped[0], "called", False), "it has stopped", 3)
    eventually(lambda: len(timers()) <= before)


def test_stopping_does_not_wait_for_a_server_that_has_gone(two: Two) -> None:
    balancer, address, one, _ = two
    with connect(address, HELLO), one.take():
        begun = time.monotonic()
        stopped: list[object] = []
        call(lambda: stopped.append(balancer.stopService()))
        one.die()
        eventually(lambda: getattr(stopped[0], "called", False), "it has stopped")
        assert time.monotonic() - begun < 2
