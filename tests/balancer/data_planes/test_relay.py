"""Relay: every byte and every end gets through, and a slow reader costs no memory."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from twisted.internet._resolver import HostResolution
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.protocols.haproxy._v2parser import V2Parser
from zope.interface import implementer

from homing.balancer.data_planes.relay import Relay, RelayOptions
from homing.balancer.data_planes.spare_pipes import SIZE
from homing.balancer.service import Balancer
from tests.balancer.few_descriptors import few_descriptors
from tests.balancer.running import (
    HELLO,
    TCPServer,
    balancing,
    closes_within,
    connect,
    wait_up,
    way_to,
)
from tests.reactor import HOST, WITHIN, Blocked, call, eventually, reactor, timers
from tests.tls import read_exactly, reset

TOLD = 28
"""Bytes of a PROXY header with IPv4 addresses."""


@contextmanager
def relayed(
    family: socket.AddressFamily = socket.AF_INET, **options: Any
) -> Iterator[tuple[Balancer, TCPServer, socket.socket, socket.socket]]:
    """A balancer, its server, and the two ends of a relayed connection."""
    listen = [f"tcp:0:interface={HOST}"]
    if family is socket.AF_INET6:
        listen = ["tcp6:0:interface=\\:\\:1"]
    with (
        TCPServer(family) as server,
        balancing({"s1": server.way(**options)}, listen=listen) as (balancer, address),
    ):
        wait_up(balancer, "s1")
        with connect(address, HELLO) as client, server.accept() as served:
            yield balancer, server, client, served


def test_bytes_get_through_both_ways() -> None:
    with relayed() as (_, _, client, served):
        assert read_exactly(served, len(HELLO)) == HELLO
        served.sendall(b"welcome")
        assert client.recv(100) == b"welcome"


@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_INET, IPv4Address), (socket.AF_INET6, IPv6Address)]
)
def test_the_server_is_told_the_clients_address_before_the_hello(
    family: socket.AddressFamily, kind: type[IPv4Address] | type[IPv6Address]
) -> None:
    with relayed(family, proxy_protocol=True) as (_, _, client, served):
        length = 16 + (12 if family is socket.AF_INET else 36)
        info, rest = V2Parser().feed(read_exactly(served, length))
        assert rest == b""
        assert info is not None
        assert isinstance(info.source, kind)
        assert isinstance(info.destination, kind)
        for said, meant in (
            (info.source, client.getsockname()),
            (info.destination, client.getpeername()),
        ):
            assert (ip_address(said.host), said.port) == (ip_address(meant[0]), meant[1])
        assert read_exactly(served, len(HELLO)) == HELLO


def test_a_client_that_has_said_everything_still_gets_the_answer() -> None:
    with relayed() as (_, _, client, served):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_exactly(served, len(HELLO) + 8) == HELLO + b"question"
        assert served.recv(1) == b""
        served.sendall(b"answer")
        served.close()
        assert read_exactly(client, 6) == b"answer"
        assert client.recv(1) == b""


def test_a_server_that_has_said_everything_still_hears_the_client() -> None:
    with relayed() as (_, _, client, served):
        served.sendall(b"farewell")
        served.shutdown(socket.SHUT_WR)
        assert read_exactly(client, 8) == b"farewell"
        assert client.recv(1) == b""
        client.sendall(b"more")
        assert read_exactly(served, len(HELLO) + 4) == HELLO + b"more"
        client.close()
        assert served.recv(1) == b""


def test_everything_sent_before_an_end_arrives_however_slowly_it_is_read() -> None:
    body = os.urandom(1 << 20) * 4
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        served.settimeout(WITHIN)

        def send() -> None:
            served.sendall(body)
            served.close()

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        got = b""
        for _ in range(8):
            got += read_exactly(client, len(body) // 8)
            time.sleep(0.02)
        assert got == body
        assert client.recv(1) == b""
        client.close()
        sending.join(WITHIN)
        eventually(lambda: balancer.planes["s1"].active == 0)


WHO = pytest.mark.parametrize("who", ["client", "server"])


@WHO
def test_a_reset_ends_the_other_side(who: str) -> None:
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        reset(client if who == "client" else served)
        other = served if who == "client" else client
        assert other.recv(1) == b""
        other.close()
        eventually(lambda: balancer.planes["s1"].active == 0)


@WHO
def test_what_was_said_before_a_reset_arrives(who: str) -> None:
    body = os.urandom(300_000)
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        one, other = (client, served) if who == "client" else (served, client)
        other.sendall(b"never read")  # a close with this unread would be a reset
        one.sendall(body)
        eventually(lambda: not _unsent(one), "the balancer has got it all")
        reset(one)
        assert read_exactly(other, len(body)) == body
        assert other.recv(1) == b""
        other.close()
        eventually(lambda: balancer.planes["s1"].active == 0)


@WHO
def test_a_reset_behind_more_than_fits_leaves_the_beginning_and_costs_no_memory(who: str) -> None:
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        one, other = (client, served) if who == "client" else (served, client)
        sent = _send_until_held_back(one)
        reset(one)
        other.sendall(b"a write that fails on the side that is gone")
        assert call(lambda: _held(balancer)) < 1 << 19
        got = 0
        with suppress(ConnectionError):
            while data := other.recv(1 << 20):
                assert data == bytes(len(data))
                got += len(data)
        assert sent - (8 << 20) < got <= sent
        other.close()
        eventually(lambda: balancer.planes["s1"].active == 0)


@WHO
@pytest.mark.parametrize("words", [b"", b"words that nobody takes"])
def test_after_a_reset_a_side_that_does_not_end_by_itself_is_ended(who: str, words: bytes) -> None:
    with relayed(stall_timeout=0.5) as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        one, other = (client, served) if who == "client" else (served, client)
        with suppress(ConnectionError):  # the end may come meanwhile
            if words:
                _send_until_held_back(one)
            reset(one)
            other.sendall(words)  # a write that fails tells of a reset behind what is held back
        eventually(lambda: balancer.planes["s1"].active == 0)


def test_a_server_that_goes_on_sending_to_a_client_that_was_reset_is_reset() -> None:
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        reset(client)
        assert served.recv(1) == b""
        eventually(lambda: _fails(served), "the server is reset")
        eventually(lambda: balancer.planes["s1"].active == 0)


def test_a_client_that_reads_nothing_is_ended_soon_and_its_server_with_it() -> None:
    with relayed(stall_timeout=0.5) as (balancer, _, _, served):
        read_exactly(served, len(HELLO))
        with suppress(ConnectionError):
            _send_until_held_back(served)
        eventually(lambda: balancer.planes["s1"].active == 0)
        eventually(lambda: _fails(served), "the server is reset")


def test_a_server_may_hold_an_upload_back_for_longer() -> None:
    with relayed(stall_timeout=0.3) as (_, _, client, served):
        read_exactly(served, len(HELLO))
        sent = _send_until_held_back(client)
        time.sleep(1)
        assert read_exactly(served, sent) == bytes(sent)


def _fails(sender: socket.socket) -> bool:
    """Whether a write fails; one that does not is made."""
    try:
        sender.sendall(b"anybody there?")
    except ConnectionError:
        return True
    return False


def _unsent(sender: socket.socket) -> bool:
    """Whether the kernel has bytes that the other end has not taken yet."""
    return any(fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)))


def _send_until_held_back(sender: socket.socket) -> int:
    """Send zeros until nothing is taken for half a second; how many."""
    sender.setblocking(False)
    sent, still_since = 0, time.monotonic()
    while time.monotonic() - still_since < 0.5:
        try:
            sent += sender.send(bytes(1 << 20))
            still_since = time.monotonic()
            assert sent < 1 << 30, "nothing holds the sender back"
        except BlockingIOError:
            time.sleep(0.01)
    sender.settimeout(WITHIN)
    return sent


@WHO
def test_a_slow_reader_holds_the_sender_back_and_costs_no_memory(who: str) -> None:
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        sent = _send_until_held_back(served if who == "client" else client)
        held = call(lambda: _held(balancer))
        assert held < 1 << 18, f"the balancer holds {held} bytes"
        reader = client if who == "client" else served
        assert read_exactly(reader, sent) == bytes(sent)


def _held(balancer: Balancer) -> int:
    """Bytes that the balancer holds itself; what is in pipes is in the kernel."""
    relay = balancer.planes["s1"]
    assert isinstance(relay, Relay)
    flows = [flow for one in relay.relayed for flow in (one.up, one.down)]
    assert all(flow.in_pipe <= SIZE for flow in flows)
    return sum(len(flow.held) for flow in flows)


def test_a_connection_on_which_nothing_moves_is_closed() -> None:
    with relayed(idle_timeout=0.4) as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        for _ in range(5):
            time.sleep(0.2)
            client.sendall(b"x")
            assert read_exactly(served, 1) == b"x"
        closes_within(client, WITHIN)
        closes_within(served, WITHIN)
        eventually(lambda: balancer.planes["s1"].active == 0)


def free() -> RelayOptions:
    """Where no server is."""
    with socket.create_server((HOST, 0)) as closed:
        return way_to(HOST, closed.getsockname()[1])


def test_a_server_that_dies_leaves_its_next_client_to_another_and_comes_back() -> None:
    with TCPServer() as other, ExitStack() as stack:
        dying = stack.enter_context(TCPServer())
        with balancing({"s1": dying.way(), "s2": other.way()}) as (balancer, address):
            wait_up(balancer, "s1", "s2")
            stack.close()
            for _ in range(2):
                with connect(address, HELLO) as client, other.accept() as served:
                    assert read_exactly(served, len(HELLO)) == HELLO
                    served.sendall(b"here")
                    assert client.recv(100) == b"here"
            assert not balancer.planes["s1"].up
            with socket.create_server((dying.host, dying.port)):
                wait_up(balancer, "s1")


def test_a_server_that_is_down_at_the_start_gets_clients_once_it_is_there() -> None:
    way = free()
    with balancing({"s1": way}) as (balancer, address), connect(address, HELLO):
        time.sleep(0.2)
        with socket.create_server((way.host, way.port)) as port:
            wait_up(balancer, "s1")
            port.settimeout(WITHIN)
            got = b""
            while not got:
                connection, _ = port.accept()
                with connection:
                    got = connection.recv(65536)
            assert got == HELLO


def test_a_client_that_leaves_while_its_server_is_reached_for_harms_nobody() -> None:
    with TCPServer() as server, balancing({"s1": server.way()}) as (balancer, address):
        wait_up(balancer, "s1")
        for _ in range(20):
            reset(connect(address, HELLO))
        with connect(address, HELLO + b"the last one") as client:
            got = b""
            while not got.endswith(b"the last one"):
                with server.accept() as served, suppress(ConnectionError):
                    got = served.recv(65536)
            closes_within(client, WITHIN)
        eventually(lambda: balancer.planes["s1"].active == 0)


def test_open_connections_finish_when_the_balancer_stops_and_nothing_is_left() -> None:
    before = len(timers())
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        stopped: list[Any] = []
        call(lambda: stopped.append(balancer.stopService()))
        served.sendall(b"still here")
        assert client.recv(100) == b"still here"
        client.sendall(b"good")
        assert served.recv(100) == b"good"
        assert not stopped[0].called
        client.close()
        served.close()
        eventually(lambda: stopped[0].called, "it has stopped", 3)
    eventually(lambda: len(timers()) <= before, "timers are gone", 5)


def test_a_connection_that_outlives_the_grace_of_a_stop_is_closed() -> None:
    with relayed() as (balancer, _, client, served):
        read_exactly(served, len(HELLO))
        call(balancer.stopService)
        closes_within(client, 5)
        closes_within(served, 5)


@pytest.mark.parametrize("told", [False, True], ids=["", "PROXY"])
def test_when_descriptors_run_out_every_relayed_client_waits_and_is_served_after_all(
    tmp_path: Path, told: bool
) -> None:
    log = tmp_path / "log"
    with TCPServer() as server, ExitStack() as stack:
        way = f"{server.host}:{server.port}" + ("+proxy" if told else "")
        address = stack.enter_context(few_descriptors(way, log))
        clients = [stack.enter_context(connect(address, HELLO)) for _ in range(45)]
        eventually(lambda: "accepting pauses" in log.read_text(), "it has run out")
        time.sleep(1.2)  # that would be three pauses
        while clients:
            with server.accept() as served:
                assert read_exactly(served, told * TOLD + len(HELLO)).endswith(HELLO)
                served.sendall(b"served")
            (client, *_), _, _ = select.select(clients, [], [], WITHIN)
            assert client.recv(100) == b"served"
            clients.remove(client)
            client.close()
        said = log.read_text()
    assert said.count("accepting pauses") == 1, "a line for each pause"
    assert "down" not in said
    assert "closed" not in said


@implementer(IHostnameResolver)
class Names:
    """What names stand for, instead of what the system says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked = 0

    def __enter__(self) -> Names:
        self._before = reactor().installNameResolver(self)
        return self

    def __exit__(self, *exception: object) -> None:
        reactor().installNameResolver(self._before)

    def resolveHostName(  # type: ignore[override]
        self, resolutionReceiver: Any, hostName: str, portNumber: int, *_: object, **__: object
    ) -> Any:
        self.asked += 1
        resolutionReceiver.resolutionBegan(HostResolution(hostName))
        if not self.address:
            return
        resolutionReceiver.addressResolved(IPv4Address("TCP", self.address, portNumber))
        resolutionReceiver.resolutionComplete()


def test_no_client_waits_for_the_look_up_of_its_servers_name() -> None:
    with TCPServer() as server, Names(server.host) as names:
        with balancing({"s1": way_to("server.test", server.port)}) as (balancer, address):
            wait_up(balancer, "s1")
            for _ in range(5):
                with connect(address, HELLO), server.accept() as served:
                    assert read_exactly(served, len(HELLO)) == HELLO
            assert names.asked == 1


def test_a_name_that_stands_for_another_address_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("homing.balancer.data_planes.finding.LOOK_UP_EVERY", 0.2)
    with TCPServer() as old, Names(old.host) as names, ExitStack() as stack:
        new = stack.enter_context(socket.create_server(("127.0.0.2", old.port)))
        new.settimeout(WITHIN)
        way = way_to("moving.test", old.port)
        balancer, address = stack.enter_context(balancing({"s1": way}))
        wait_up(balancer, "s1")
        names.address = "127.0.0.2"
        with new.accept()[0] as probe:
            assert probe.recv(1) == b"", "it was only looked whether it is there"
        stack.enter_context(connect(address, HELLO))
        served = b""
        while not served:  # the next probe may come first
            with new.accept()[0] as connection:
                served = connection.recv(len(HELLO))
        assert HELLO.startswith(served)


def test_a_server_whose_name_has_another_address_that_answers_is_not_down() -> None:
    with TCPServer() as gone, Names(gone.host) as names, ExitStack() as stack:
        way = way_to("server.test", gone.port)
        balancer, address = stack.enter_context(balancing({"s1": way}))
        wait_up(balancer, "s1")
        gone.__exit__()
        names.address = "127.0.0.2"
        other = stack.enter_context(socket.create_server(("127.0.0.2", gone.port)))
        other.settimeout(WITHIN)
        stack.enter_context(connect(address, HELLO))
        served = b""
        while not served:  # a probe may come first
            with other.accept()[0] as connection:
                served = connection.recv(len(HELLO))
        assert HELLO.startswith(served)
        assert balancer.planes["s1"].up


def test_many_clients_of_an_address_that_is_gone_wait_for_one_look_up_together() -> None:
    with TCPServer() as gone, Names(gone.host) as names, ExitStack() as stack:
        way = way_to("server.test", gone.port)
        balancer, address = stack.enter_context(balancing({"s1": way}))
        wait_up(balancer, "s1")
        gone.__exit__()
        names.address = "127.0.0.2"
        other = stack.enter_context(TCPServer(host="127.0.0.2", port=gone.port))
        clients: set[socket.socket] = set()
        with Blocked():
            clients |= {stack.enter_context(connect(address, HELLO)) for _ in range(10)}
        for _ in clients:
            with other.accept() as served:
                served.sendall(b"served")
        for client in clients:
            assert client.recv(100) == b"served"
        assert names.asked == 2
        assert balancer.planes["s1"].up


def test_a_client_whose_server_is_looked_up_when_the_balancer_stops_is_closed() -> None:
    with TCPServer() as gone, Names(gone.host) as names, ExitStack() as stack:
        way = way_to("server.test", gone.port, connect_timeout=0.5)
        balancer, address = stack.enter_context(balancing({"s1": way}))
        wait_up(balancer, "s1")
        gone.__exit__()
        names.address = ""  # nothing is found, ever
        client = stack.enter_context(connect(address, HELLO))
        eventually(lambda: names.asked == 2)
        call(balancer.stopService)
        closes_within(client, WITHIN)


def test_a_name_that_cannot_be_looked_up_for_lack_of_descriptors_is_no_server_that_is_down(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as port, ExitStack() as stack:
        port.settimeout(WITHIN)
        way = f"localhost:{port.getsockname()[1]}"
        address = stack.enter_context(few_descriptors(way, log))
        clients = [stack.enter_context(connect(address, HELLO)) for _ in range(45)]
        time.sleep(4)  # longer than an attempt to connect takes
        while clients:
            served, _ = port.accept()
            with served, suppress(ConnectionError):
                if served.recv(1000):  # neither a probe nor an attempt that was given up
                    served.sendall(b"served")
                    served.close()
                    (client, *_), _, _ = select.select(clients, [], [], WITHIN)
                    assert client.recv(100) == b"served"
                    clients.remove(client)
                    client.close()
        assert "down" not in log.read_text()
