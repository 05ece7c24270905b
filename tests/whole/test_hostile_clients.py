"""Clients that mean harm, or are only broken."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from pathlib import Path

from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.costly_hellos import Shape, filled, usual
from tests.whole.clients import VERSIONS, ask, connect, context, visit


def test_hostile_clients_cost_the_others_nothing(farm: LocalFarm) -> None:
    hello = (Path(__file__).parent.parent / "hellos" / "python-resume-psk.bin").read_bytes()
    address = split_host_and_port(farm.listen)
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


COSTLY = (Shape(protocols=32_000).wire, *filled(16_384).values(), *filled(2048).values())
"""64 KB full of ALPN names; up to 16 and 2 KB full of all that a hello can have many of."""


def balancer_time(farm: LocalFarm, hello: bytes) -> float:
    """Nanoseconds of CPU time that the balancer spends on a connection that begins with `hello`."""
    statistics = Path(f"/proc/{farm.facts()['balancer_pid']}/schedstat")
    connections = 40

    def spent() -> int:
        return int(statistics.read_text().split()[0])

    before = spent()
    for _ in range(connections):
        with socket.create_connection(split_host_and_port(farm.listen), timeout=20) as one:
            with suppress(ConnectionError):
                one.sendall(hello)
                one.recv(1)  # a server has it and answers, be it with an alert
    return (spent() - before) / connections


def test_no_hello_takes_the_balancer_much_longer_than_a_usual_one(farm: LocalFarm) -> None:
    of_usual = balancer_time(farm, usual(2048))
    for hello in COSTLY:
        assert balancer_time(farm, hello) <= 20 * of_usual, len(hello)


@contextmanager
def flood(address: tuple[str, int], rate: float) -> Iterator[list[int]]:
    """`rate` costly hellos a second, each on a connection that stays open for some time."""
    stop = threading.Event()
    sent: list[int] = []

    def send() -> None:
        kept: deque[socket.socket] = deque()
        for wire in cycle(COSTLY):
            if stop.wait(1 / rate):
                break
            kept.append(socket.create_connection(address))
            kept[-1].settimeout(10)
            with suppress(ConnectionError):  # the server ends what it cannot agree with
                kept[-1].sendall(wire)
            sent.append(len(wire))
            if len(kept) > 100:
                kept.popleft().close()
        for one in kept:
            one.close()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield sent
        finally:
            stop.set()
            sending.result()


def test_ninety_costly_hellos_a_second_cost_nobody_a_session(farm: LocalFarm) -> None:
    clients = {version: context(farm.ca, version) for version in VERSIONS}
    first = [(one, visit(farm.listen, one)) for one in clients.values() for _ in range(4)]
    with flood(split_host_and_port(farm.listen), 90) as sent:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline or len(sent) < len(COSTLY):
            for one, before in first:
                back = visit(farm.listen, one, before.session)
                assert back.reused
                assert back.answer["server"] == before.answer["server"]


def test_a_thousand_idle_connections_keep_nobody_out(farm: LocalFarm) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    address = split_host_and_port(farm.listen)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address))
        clients = context(farm.ca, "TLSv1.3")
        with connect(farm.listen, clients) as connection:
            assert ask(connection)["server"]
