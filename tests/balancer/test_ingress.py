"""Clients come in whatever else goes on at the port."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from homing.shared.addresses import split_host_and_port
from tests.balancer.few_descriptors import few_descriptors
from tests.balancer.running import (
    HELLO,
    HandOffServer,
    One,
    balancing,
    closes_within,
    connect,
    is_served,
)
from tests.reactor import HOST, WITHIN, call, descriptors, eventually


@pytest.mark.parametrize("one", [{"hello_timeout": 1}], indirect=True)
def test_a_thousand_idle_clients_do_not_keep_a_real_one_out(one: One) -> None:
    _, address, server = one
    before = descriptors()
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connect(address))
        assert descriptors() - before < 1100  # ours; the balancer has accepted few or none
        for _ in range(3):
            is_served(address, server)


def test_idle_clients_are_closed_in_the_end() -> None:
    with balancing({}, hello_timeout=1) as (_, address), connect(address) as client:
        closes_within(client, WITHIN)


@pytest.mark.parametrize(
    ("one", "close"),
    [({}, False), ({"close_not_tls": True}, True)],
    indirect=["one"],
    ids=["passed on", "closed"],
)
def test_what_is_not_tls_goes_where_the_policy_says_or_is_closed_where_the_farm_says_so(
    one: One, close: bool
) -> None:
    _, address, server = one
    for words in (b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01", b"\0"):
        with connect(address, words) as client:
            if close:
                assert closes_within(client, 5) < 5
            else:
                assert server.serve() == words
    is_served(address, server)


@pytest.mark.parametrize("one", [{"listen": [f"tcp:0:interface={HOST}"] * 2}], indirect=True)
def test_one_balancer_listens_at_several_ports(one: One) -> None:
    balancer, _, server = one
    for address in balancer.ingresses.addresses:
        is_served(split_host_and_port(address), server)


def test_after_a_stop_nobody_listens() -> None:
    with balancing({}) as (balancer, address):
        call(balancer.stopService)
        with pytest.raises(ConnectionRefusedError):
            connect(address)


def test_when_descriptors_run_out_clients_wait_and_are_served_after_all(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        few_descriptors(server.path, log, server.greet) as address,
        ExitStack() as stack,
    ):
        stalled = [stack.enter_context(connect(address, HELLO[:50])) for _ in range(100)]
        client = stack.enter_context(connect(address, HELLO))
        eventually(lambda: "accepting pauses" in log.read_text(), "it has run out")
        time.sleep(1.2)  # that would be three pauses
        for one in stalled:
            one.close()
        assert server.serve() == HELLO
        assert client.recv(100) == b"served"
        assert log.read_text().count("accepting pauses") == 1, "a line for each pause"
