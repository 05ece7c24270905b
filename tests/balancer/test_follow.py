"""Servers that come, change and leave while a balancer runs: no client notices."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from homing.balancer.data_planes.link import MOST_UNANSWERED
from homing.balancer.follower import Routes
from homing.balancer.routing import Reason
from homing.balancer.service import Balancer
from homing.balancer.table import Entry, Table
from homing.balancer.ways import Way
from homing.shared.farm_state.values import ServerFacts
from homing.shared.handoff import ACCEPTED, ENDED
from homing.shared.id_sets import IdRange
from tests.balancer.running import (
    HELLO,
    OPTIONS,
    HandOffServer,
    TCPServer,
    balancing,
    closes_within,
    connect,
    counted,
    is_served,
    to_servers,
    wait_up,
    waits,
    way_to,
)
from tests.balancer.simulation.run import hello
from tests.logs import log
from tests.reactor import HOST, call, eventually, reactor

NAMES = ("s1", "s2", "s3")
TABLE = Table(tuple(Entry(name, IdRange.of_prefix(name.encode())) for name in NAMES), epoch=7)


def returning_to(name: str) -> bytes:
    """The hello of a client of that server."""
    return hello(name.encode().ljust(32, b"x"))


class Farm:
    """A balancer, and servers that come and go."""

    def __init__(self, folder: Path, balancer: Balancer, address: tuple[str, int]) -> None:
        self._ways = to_servers(folder)
        self.balancer = balancer
        self.address = address
        self.facts: dict[str, ServerFacts] = {}
        self.weights: dict[str, float] = {}
        self.draining: frozenset[str] = frozenset()

    def follow(self, **addresses: str | None) -> None:
        """Servers come, or change their address; those with None leave."""
        for name, address in addresses.items():
            self.facts.pop(name, None)
            if address is not None:
                self.facts[name] = ServerFacts(address)
        routes = Routes(TABLE, dict(self.facts), self.weights, self.draining)
        call(self.balancer.follow, routes, self._ways)

    def connect(self, data: bytes = HELLO) -> socket.socket:
        return connect(self.address, data)


@pytest.fixture(name="farm")
def _farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Farm]:
    with balancing({}, **getattr(request, "param", {})) as (balancer, address):
        yield Farm(tmp_path, balancer, address)


@pytest.fixture(name="s1")
def _s1(tmp_path: Path) -> Iterator[HandOffServer]:
    with HandOffServer(tmp_path / "s1.sock") as server:
        yield server


@pytest.fixture(name="s2")
def _s2(tmp_path: Path) -> Iterator[HandOffServer]:
    with HandOffServer(tmp_path / "s2.sock") as server:
        yield server


def up(farm: Farm, **servers: HandOffServer) -> None:
    """Servers come, and can be reached."""
    farm.follow(**{name: f"unix:{name}.sock" for name in servers})
    for server in servers.values():
        server.greet()
    wait_up(farm.balancer, *servers)


def test_a_client_of_a_farm_without_servers_waits_for_the_first_one_that_comes(
    farm: Farm, s1: HandOffServer
) -> None:
    with farm.connect() as client:
        waits(farm.balancer, 1)
        up(farm, s1=s1)
        assert s1.serve() == HELLO
        assert client.recv(100) == b"served"
    assert farm.balancer.rules.table.epoch == 7


@pytest.mark.parametrize("farm", [{"hello_timeout": 0.25}], indirect=True)
def test_a_farm_without_servers_closes_clients_in_time(farm: Farm) -> None:
    with farm.connect() as client:
        assert client.recv(1) == b""
    counted(farm.balancer, "", Reason.NOBODY, 1)


def test_a_server_that_joins_gets_new_clients_and_those_of_its_identifiers(
    farm: Farm, s1: HandOffServer, s2: HandOffServer
) -> None:
    up(farm, s1=s1)
    with farm.connect(returning_to("s2")):
        assert s1.serve() == returning_to("s2")
    up(farm, s2=s2)
    with farm.connect(returning_to("s2")):
        assert s2.serve() == returning_to("s2")
    counted(farm.balancer, "s2", Reason.OWNER, 1)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(farm.connect())
        assert s1.serve() == s2.serve() == HELLO
    assert s1.links == 1, "its link stays"


def test_who_waits_for_a_server_that_leaves_goes_elsewhere_and_who_was_handed_over_stays(
    farm: Farm, s1: HandOffServer, s2: HandOffServer
) -> None:
    up(farm, s1=s1, s2=s2)
    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED + 5):
            stack.enter_context(farm.connect(returning_to("s1")))
        waits(farm.balancer, 5)
        farm.follow(s1=None)
        for _ in range(5):
            assert s2.serve() == returning_to("s1")
        for _ in range(MOST_UNANSWERED - 1):
            assert s1.serve() == returning_to("s1")
        with s1.take() as last:
            s1.link.sendall(ACCEPTED)
            assert last.recv(1000) == returning_to("s1")
        assert s1.link.recv(1) == b"", "the balancer is done with it"
    counted(farm.balancer, "s2", Reason.OWNER_DOWN, 5)
    assert "s1" not in farm.balancer.counts
    is_served(farm.address, s2)


def test_what_a_leaving_server_does_not_take_goes_elsewhere(
    farm: Farm, s1: HandOffServer, s2: HandOffServer
) -> None:
    up(farm, s1=s1, s2=s2)
    with farm.connect(returning_to("s1")) as client:
        with s1.take():
            farm.follow(s1=None)
            s1.die()
        assert s2.serve() == returning_to("s1")
        assert client.recv(100) == b"served"


def test_a_server_that_changes_its_address_keeps_its_connections_and_gets_new_ones_there(
    farm: Farm, s1: HandOffServer, s2: HandOffServer
) -> None:
    up(farm, s1=s1)
    with farm.connect(returning_to("s1")) as before:
        with s1.take() as taken:
            farm.follow(s1="unix:s2.sock")
            s1.link.sendall(ACCEPTED)
            taken.sendall(b"still here")
        assert before.recv(100) == b"still here"
    s2.greet()
    wait_up(farm.balancer, "s1")
    with farm.connect(returning_to("s1")):
        assert s2.serve() == returning_to("s1")
    counted(farm.balancer, "s1", Reason.OWNER, 1)


def test_a_relayed_connection_goes_on_when_its_server_leaves(farm: Farm) -> None:
    with TCPServer() as server:
        farm.follow(s1=f"tcp:{server.host}:{server.port}")
        wait_up(farm.balancer, "s1")
        with farm.connect() as client, server.accept() as connection:
            farm.follow(s1=None)
            assert connection.recv(len(HELLO)) == HELLO
            connection.sendall(b"still here")
            assert client.recv(100) == b"still here"
            client.sendall(b"and I")
            assert connection.recv(100) == b"and I"
            with farm.connect():
                waits(farm.balancer, 1)  # nobody else is there
    eventually(lambda: not farm.balancer._leaving, "it is forgotten")


def test_a_balancer_that_stops_ends_the_connections_of_servers_that_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homing.balancer.service.GRACE", 0.1)
    with TCPServer() as server, ExitStack() as stack:
        with balancing({}) as (balancer, address):
            farm = Farm(tmp_path, balancer, address)
            farm.follow(s1=f"tcp:{server.host}:{server.port}")
            wait_up(balancer, "s1")
            client = stack.enter_context(farm.connect())
            connection = stack.enter_context(server.accept())
            farm.follow(s1=None)
        assert connection.recv(len(HELLO)) == HELLO
        assert closes_within(client, 5) < 5


def test_a_server_that_drains_gets_its_own_clients_and_no_new_ones(
    farm: Farm, s1: HandOffServer, s2: HandOffServer
) -> None:
    up(farm, s1=s1, s2=s2)
    farm.draining = frozenset({"s1"})
    farm.follow()
    for _ in range(3):
        is_served(farm.address, s2)
    with farm.connect(returning_to("s1")):
        assert s1.serve() == returning_to("s1")


def test_weights_are_followed(farm: Farm, s1: HandOffServer, s2: HandOffServer) -> None:
    up(farm, s1=s1, s2=s2)
    farm.weights = {"s1": 3.0, "s2": 1.0}
    farm.follow()
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(farm.connect())
        for server, share in ((s1, 6), (s2, 2)):
            for _ in range(share):
                assert server.serve() == HELLO
    counted(farm.balancer, "s1", Reason.NO_IDENTIFIER, 6)
    counted(farm.balancer, "s2", Reason.NO_IDENTIFIER, 2)


def test_an_address_that_is_none_is_said_and_the_other_servers_are_followed(
    farm: Farm, s2: HandOffServer
) -> None:
    with log("homing.balancer") as lines:
        farm.follow(s1="quic:somewhere", s3="tcp:nowhere", s2="unix:s2.sock")
        s2.greet()
        wait_up(farm.balancer, "s2")
    assert [line.partition(":")[0] for line in lines if "gets no clients" in line] == [
        "s1 gets no clients",
        "s3 gets no clients",
    ]
    is_served(farm.address, s2)


def test_a_server_that_leaves_is_not_said_to_be_down(farm: Farm, s1: HandOffServer) -> None:
    with log("homing.balancer") as lines:
        up(farm, s1=s1)
        farm.follow(s1=None)
        eventually(lambda: "s1 has left the farm, or its address" in lines)
        assert call(_pause, 0.4) is None
    assert "s1 is down" not in lines


def test_a_balancer_starts_with_the_servers_that_it_followed_before(
    tmp_path: Path, s1: HandOffServer
) -> None:
    balancer = Balancer(reactor(), OPTIONS, Table(), {})
    routes = Routes(TABLE, {"s1": ServerFacts("unix:s1.sock")})
    call(balancer.follow, routes, to_servers(tmp_path))
    call(balancer.startService)
    try:
        s1.greet()
        wait_up(balancer, "s1")
        port = int(balancer.ingresses.addresses[0].rpartition(":")[2])
        with connect((HOST, port), returning_to("s1")):
            assert s1.take()
            s1.link.sendall(ACCEPTED + ENDED)
    finally:
        call(balancer.stopService)


def _pause(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor().callLater(seconds, done.callback, None)
    return done


def test_who_starts_a_balancer_need_not_wait_for_a_server_that_has_left(
    farm: Farm, s1: HandOffServer
) -> None:
    up(farm, s1=s1)
    farm.follow(s2="unix:s2.sock")
    ready: list[None] = []

    def wait() -> None:
        farm.balancer.when_up(["s1", "s2"]).addCallback(ready.append)

    call(wait)
    assert not ready
    farm.follow(s2=None)
    assert ready


def test_clients_on_their_way_to_several_that_leave_at_once_are_served_by_the_rest(
    tmp_path: Path,
) -> None:
    class Never(socket.socket):
        def connect_ex(self, place: object) -> int:
            return errno.EINPROGRESS

    def opened(family: int) -> Never:
        return Never(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    with ExitStack() as stack:
        servers = {f"s{n}": stack.enter_context(TCPServer()) for n in (1, 2, 3)}
        ways = {name: one.way() for name, one in servers.items()}
        balancer, address = stack.enter_context(balancing(ways))
        wait_up(balancer, *ways)
        for name in ("s1", "s2"):
            balancer.planes[name]._connecting._open = opened  # type: ignore[attr-defined]
        clients = [stack.enter_context(connect(address, HELLO)) for _ in range(6)]
        eventually(lambda: [balancer.planes[name].active for name in ways] == [2, 2, 2])
        left = Routes(servers={"s3": ServerFacts("tcp:s3")})
        call(balancer.follow, left, lambda name, facts: ways[name])
        eventually(lambda: balancer.planes["s3"].active == 6)
        assert len(clients) == 6


def test_a_server_whose_address_cannot_be_used_here_holds_up_no_other(tmp_path: Path) -> None:
    with TCPServer() as server, balancing({}) as (balancer, _):
        ways = {"bad": way_to("fe80::1%nope", 443), "good": server.way()}
        routes = Routes(servers={name: ServerFacts("tcp:1") for name in ways})
        call(balancer.follow, routes, lambda name, facts: ways[name])
        wait_up(balancer, "good")
        assert not balancer.planes["bad"].up


def test_a_change_of_the_table_alone_looks_up_no_ways_to_servers(tmp_path: Path) -> None:
    asked: list[str] = []
    ways = to_servers(tmp_path)

    def to(name: str, facts: ServerFacts) -> Way:
        asked.append(name)
        return ways(name, facts)

    servers = {"s1": ServerFacts("unix:s1.sock")}
    with balancing({}) as (balancer, _):
        for epoch in (1, 2, 3):
            call(balancer.follow, Routes(Table(epoch=epoch), servers), to)
        assert asked == ["s1"]
        assert balancer.rules.table.epoch == 3
        call(balancer.follow, Routes(Table(epoch=4), {**servers}), to)
        assert asked == ["s1", "s1"]
        servers["s2"] = ServerFacts("quic:somewhere")
        for epoch in (5, 6):
            call(balancer.follow, Routes(Table(epoch=epoch), {**servers}), to)
    assert asked.count("s2") == 2, "what has failed is tried again"
