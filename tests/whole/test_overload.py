"""Floods from one address are cut as they are accepted; who comes back from another gets home."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.shared.addresses import split_host_and_port
from tests.processes import config_of, local_servers
from tests.reactor import eventually
from tests.sample_hellos import sample
from tests.whole.clients import ask, connect, context, visit

HELLO = sample("openssl-first12").wire
ATTACKER = "127.0.0.9"
SERVERS = local_servers("s1", "s2")


@pytest.fixture(scope="module", name="running_farm")
def running_farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    folder = tmp_path_factory.mktemp("overload")
    with running(folder, config_of(folder, SERVERS)) as farm:
        yield farm


@pytest.fixture(name="farm")
def farm_(running_farm: LocalFarm) -> Iterator[LocalFarm]:
    """A farm whose limits are lifted again after each test."""
    yield running_farm
    limit(running_farm, "")


def limit(farm: LocalFarm, limits: str) -> None:
    """Go on with these limits, by SIGHUP."""
    config_of(farm.state_dir, SERVERS, more=limits)
    since = len(said(farm))
    farm.process.send_signal(signal.SIGHUP)
    eventually(lambda: ": in force" in said(farm)[since:])


def said(farm: LocalFarm) -> str:
    return farm.log.read_text(errors="replace")


def are_cut(farm: LocalFarm, count: int) -> list[bool]:
    """Of so many whole hellos at once: which of them no server answers."""
    address = split_host_and_port(farm.listen)
    with ExitStack() as stack:
        flood = []
        for _ in range(count):
            one = socket.create_connection(address, 20, (ATTACKER, 0))
            flood.append(stack.enter_context(one))
            one.sendall(HELLO)
        return [is_closed(one) for one in flood]


def is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except ConnectionError:
        return True


def test_a_flood_from_one_address_is_cut_and_others_come_home(farm: LocalFarm) -> None:
    clients = context(farm.ca, "TLSv1.3")
    first = visit(farm.listen, clients)
    limit(farm, "max_source_rate = 4")
    cut = are_cut(farm, 200)
    assert cut.count(False) >= 15, "a burst passes"
    assert cut.count(True) >= 20
    assert visit(farm.listen, clients, first.session).reused
    eventually(lambda: f"come from one address: 1; the last from {ATTACKER}" in said(farm))


def held(farm: LocalFarm, clients: ssl.SSLContext, count: int) -> list[ssl.SSLSocket]:
    connections = [connect(farm.listen, clients) for _ in range(count)]
    for one in connections:
        one.sendall(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(1)
    return connections


def test_connections_over_the_limit_are_cut_until_one_ends_or_the_limit_is_raised(
    farm: LocalFarm,
) -> None:
    limit(farm, "max_connections = 8")
    clients = context(farm.ca, "TLSv1.3")
    with ExitStack() as stack:
        connections = [stack.enter_context(one) for one in held(farm, clients, 8)]
        assert all(are_cut(farm, 5))
        eventually(lambda: "closed as too many connections are open: 1" in said(farm))
        connections.pop().close()
        eventually(lambda: not any(are_cut(farm, 1)))
        limit(farm, "max_connections = 100")
        with connect(farm.listen, clients) as one:
            assert ask(one)["server"]


def test_hellos_that_never_end_make_room_for_those_that_do(farm: LocalFarm) -> None:
    limit(farm, "max_waiting = 50\nmax_connections = 50")
    with ExitStack() as stack:
        address = split_host_and_port(farm.listen)
        for _ in range(200):
            one = stack.enter_context(socket.create_connection(address))
            with suppress(ConnectionError):
                one.sendall(HELLO[:40])
        eventually(lambda: "closed as too many connections wait: 1" in said(farm))
        assert visit(farm.listen, context(farm.ca, "TLSv1.3")).answer["server"]
