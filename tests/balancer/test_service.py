"""The balancer as a whole: real servers, both data planes, both TLS versions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from homing.balancer.data_planes.relay import RelayOptions
from homing.balancer.listening import listening_socket
from homing.balancer.table import Table
from homing.server.apps.demo import site
from homing.server.service import TCPAddress, TLSServer, UnixAddress
from homing.shared.id_sets import IdRange
from homing.shared.record import Record
from tests.balancer.running import (
    HELLO,
    HandOffServer,
    One,
    balancing,
    connect,
    is_served,
    wait_up,
    way_to,
)
from tests.logs import log
from tests.reactor import HOST, call, reactor
from tests.tls import VERSIONS, ask, options, read_all, shake_hands

RECORDS = {name: Record((IdRange.of_prefix(b"HOM" + name.encode()),)) for name in ("s1", "s2")}


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("plane", ["hand-off", "relay"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6", "IPv4 at a socket for both"])
def test_clients_come_home_and_are_seen_by_their_own_address(
    tmp_path: Path, version: ssl.TLSVersion, plane: str, family: str
) -> None:
    listen_at = {
        "IPv4": lambda: listening_socket(f"tcp:0:interface={HOST}"),
        "IPv6": lambda: listening_socket("tcp6:0:interface=\\:\\:1"),
        "IPv4 at a socket for both": lambda: socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ),
    }
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
            ways[name] = way_to(HOST, port, proxy_protocol=True)
    servers = [
        TLSServer(
            reactor(),
            name,
            addresses[name],
            record=record,
            options=options(),
            application=site(name),
        )
        for name, record in RECORDS.items()
    ]
    for server in servers:
        call(server.startService)
    try:
        listening = listen_at[family]()
        with (
            log("homing.balancer") as said,
            balancing(ways, Table.of_records(RECORDS), [listening], log_decisions=True) as (
                balancer,
                address,
            ),
        ):
            wait_up(balancer, *RECORDS)
            address = (HOST if "4" in family else "::1"), address[1]
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
                    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                    assert again["client"] == shown
        decisions = [line for line in said if " to s" in line]
        assert len(decisions) == 8
        assert [line for line in decisions if not line.startswith(f"{host} to ")] == []
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
        assert one.is_asked(0.2) is False  # s2 may be its owner
        other.await_link()  # and never greets
        assert one.serve() == HELLO
        assert client.recv(100) == b"served"


class Broken:
    """A policy with a defect."""

    def choose(self, servers: Sequence[str], source: str) -> str:
        raise RuntimeError("a defect")


@pytest.mark.defect
def test_a_connection_that_cannot_be_routed_is_closed_and_the_next_one_is_served(one: One) -> None:
    balancer, address, server = one
    sound = balancer.rules
    balancer.rules = attrs.evolve(sound, policy=Broken())
    with connect(address, HELLO) as client:
        assert read_all(client) == b""
    balancer.rules = sound
    is_served(address, server)


def test_a_balancer_without_servers_starts_and_stops() -> None:
    with balancing({}) as (balancer, _):
        assert call(balancer.when_up, []) is None
