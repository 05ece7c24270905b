"""The balancer as a whole: real servers, both data planes, both TLS versions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from select import select

import attrs
import pytest

from balancer.relay import RelayOptions
from balancer.table import Table
from server.app import site
from server.service import TCPAddress, TLSServer, UnixAddress
from shared.id_sets import IdRange
from shared.record import Record
from tests.balancer.running import HELLO, HandOffServer, balancing, connect, wait_up
from tests.reactor import HOST, call, reactor
from tests.tls import VERSIONS, ask, options, read_all, shake_hands

RECORDS = {name: Record((IdRange.of_prefix(b"HOM" + name.encode()),)) for name in ("s1", "s2")}


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("plane", ["hand-off", "relay"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_clients_come_home_and_are_seen_by_their_own_address(
    tmp_path: Path, version: ssl.TLSVersion, plane: str, family: str
) -> None:
    addresses: dict[str, UnixAddress | TCPAddress] = {}
    ways: dict[str, str | RelayOptions] = {}
    for name in RECORDS:
        if plane == "hand-off":
            addresses[name] = UnixAddress(tmp_path / name)
            ways[name] = str(tmp_path / name)
        else:
            with socket.create_server((HOST, 0)) as probe:
                port = probe.getsockname()[1]
            addresses[name] = TCPAddress(HOST, port, proxy_protocol=True)
            ways[name] = RelayOptions(HOST, port, proxy_protocol=True)
    servers = [
        TLSServer(reactor(), name, addresses[name], record, options(), site(name))
        for name, record in RECORDS.items()
    ]
    for server in servers:
        call(server.startService)
    try:
        listen = [f"tcp:0:interface={HOST}" if family == "IPv4" else "tcp6:0:interface=\\:\\:1"]
        with balancing(ways, Table.of_records(RECORDS), listen=listen) as (balancer, address):
            wait_up(balancer, *RECORDS)
            for home in ("s1", "s2"):
                with shake_hands(connect(address), version) as tls:
                    first = ask(tls)
                    session = tls.session
                assert first["server"] == home  # round robin
                for _ in range(3):
                    with shake_hands(connect(address), version, session) as tls:
                        again = ask(tls)
                        host, port = tls.getsockname()[:2]
                        session = tls.session
                    assert (again["server"], again["resumed"]) == (home, True)
                    shown = f"[{host}]:{port}" if family == "IPv6" else f"{host}:{port}"
                    assert again["client"] == shown
    finally:
        for server in servers:
            call(server.stopService)


def test_clients_wait_at_the_start_until_their_servers_are_there_but_not_for_long(
    tmp_path: Path,
) -> None:
    with (
        HandOffServer(tmp_path / "s1.sock") as one,
        HandOffServer(tmp_path / "s2.sock") as other,
        balancing({"s1": one.path, "s2": other.path}) as (balancer, address),
        connect(address, HELLO) as client,
    ):
        one.greet()
        wait_up(balancer, "s1")
        assert select([one.link], [], [], 0.2)[0] == []  # s2 may be its owner
        other.await_link()  # and never greets
        assert one.serve() == HELLO
        assert client.recv(100) == b"served"


class Broken:
    """A policy with a defect."""

    def choose(self, servers: Sequence[str], source: str) -> str:
        raise RuntimeError("a defect")


@pytest.mark.defect
def test_a_connection_that_cannot_be_routed_is_closed_and_the_next_one_is_served(
    tmp_path: Path,
) -> None:
    with (
        HandOffServer(tmp_path / "s1.sock") as server,
        balancing({"s1": server.path}) as (balancer, address),
    ):
        server.greet()
        wait_up(balancer, "s1")
        sound = balancer.rules
        balancer.rules = attrs.evolve(sound, policy=Broken())
        with connect(address, HELLO) as client:
            assert read_all(client) == b""
        balancer.rules = sound
        with connect(address, HELLO):
            assert server.serve() == HELLO


def test_a_balancer_without_servers_starts_and_stops() -> None:
    with balancing({}) as (balancer, _):
        assert call(balancer.when_up, []) is None
