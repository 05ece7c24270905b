"""Clients that mean harm, or are only broken."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from farm.local import LocalFarm
from tests.whole.clients import ask, connect, context, host_and_port, visit


def test_hostile_clients_cost_the_others_nothing(farm: LocalFarm) -> None:
    hello = (Path(__file__).parent.parent / "hellos" / "python-resume-psk.bin").read_bytes()
    address = host_and_port(farm.listen)
    clients = context(farm.ca, "TLSv1.3")
    first = visit(farm.listen, clients)
    stalled = []
    for at in range(1, len(hello), 3):
        one = socket.create_connection(address)
        one.sendall(hello[:at])
        stalled.append(one)
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x00\x02" + bytes(41),
        os.urandom(70_000),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x16\x03\x01\x00\x01\x01" * 1200,
        b"\x16\x03\x01\x40\x00\x01\x01\x00\x00" + bytes(65_000),
    ):
        with socket.create_connection(address) as one:
            with suppress(OSError):
                one.sendall(garbage)
    for _ in range(5):
        assert visit(farm.listen, clients, first.session).reused
    deadline = time.monotonic() + 15
    for one in stalled:
        one.settimeout(max(0.1, deadline - time.monotonic()))
        with suppress(ConnectionResetError):
            assert one.recv(1000) == b"", "a hello that is cut off got an answer"
        one.close()
    assert visit(farm.listen, clients, first.session).reused


def test_a_thousand_idle_connections_keep_nobody_out(own_farm: LocalFarm) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    address = host_and_port(own_farm.listen)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address))
        clients = context(own_farm.ca, "TLSv1.3")
        with connect(own_farm.listen, clients) as connection:
            assert ask(connection)["server"]
