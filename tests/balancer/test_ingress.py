"""Clients come in whatever else goes on at the port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.balancer.running import HELLO, HandOffServer, balancing, closes_within, connect, wait_up
from tests.reactor import HOST, WITHIN, call, descriptors, eventually


def test_a_thousand_idle_clients_do_not_keep_a_real_one_out(tmp_path: Path) -> None:
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        balancing({"s1": server.path}, hello_timeout=1) as (balancer, address),
        ExitStack() as stack,
    ):
        server.greet()
        wait_up(balancer, "s1")
        before = descriptors()
        for _ in range(1000):
            stack.enter_context(connect(address))
        assert descriptors() - before < 1100  # ours; the balancer has accepted few or none
        for _ in range(3):
            with connect(address, HELLO) as client:
                assert server.serve() == HELLO
                assert client.recv(100) == b"served"


def test_idle_clients_are_closed_in_the_end(tmp_path: Path) -> None:
    with balancing({}, hello_timeout=1) as (_, address), connect(address) as client:
        closes_within(client, WITHIN)


@pytest.mark.parametrize("close", [False, True])
def test_what_is_not_tls_goes_where_the_policy_says_or_is_closed_where_the_farm_says_so(
    tmp_path: Path, close: bool
) -> None:
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        balancing({"s1": server.path}, close_not_tls=close) as (balancer, address),
    ):
        server.greet()
        wait_up(balancer, "s1")
        for words in (b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01", b"\0"):
            with connect(address, words) as client:
                if close:
                    assert closes_within(client, 5) < 5
                else:
                    assert server.serve() == words
        with connect(address, HELLO):
            assert server.serve() == HELLO


def test_one_balancer_listens_at_several_ports(tmp_path: Path) -> None:
    listen = [f"tcp:0:interface={HOST}"] * 2
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        balancing({"s1": server.path}, listen=listen) as (balancer, _),
    ):
        server.greet()
        wait_up(balancer, "s1")
        for one in balancer.addresses:
            host, _, port = one.rpartition(":")
            with connect((host, int(port)), HELLO):
                assert server.serve() == HELLO


def test_after_a_stop_nobody_listens(tmp_path: Path) -> None:
    with balancing({}) as (balancer, address):
        call(balancer.stopService)
        with pytest.raises(ConnectionRefusedError):
            connect(address)


def test_when_descriptors_run_out_clients_wait_and_are_served_after_all(tmp_path: Path) -> None:
    script = Path(__file__).with_name("few_descriptors.py")
    log = tmp_path / "log"
    with HandOffServer(tmp_path / "s1.sock") as server:
        process = subprocess.Popen(
            [sys.executable, script, server.path, HOST, "60"],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env={**os.environ, "PYTHONPATH": str(script.parent.parent.parent)},
        )
        try:
            server.greet()
            assert process.stdout is not None
            address = HOST, int(process.stdout.readline())
            with ExitStack() as stack:
                stalled = [stack.enter_context(connect(address, HELLO[:50])) for _ in range(100)]
                client = stack.enter_context(connect(address, HELLO))
                eventually(lambda: _descriptors_of(process.pid) >= 60, "it has run out")
                time.sleep(1.2)  # that would be three pauses
                for one in stalled:
                    one.close()
                assert server.serve() == HELLO
                assert client.recv(100) == b"served"
            assert log.read_text().count("accepting pauses") == 1, "a line for each pause"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
