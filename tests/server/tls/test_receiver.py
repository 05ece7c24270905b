"""The server's end of a hand-off link: nothing is lost, nothing is served twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from homing.server.service import TLSServer, UnixAddress
from homing.shared.handoff import ACCEPTED, CONNECTION, ENDED, REFUSED
from tests.reactor import WITHIN, Blocked, eventually
from tests.server.running import BalancersEnd, FailsAtOnce, serving
from tests.tls import ask, certificates, read_all, reset, shake_hands, tcp_pair


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s1.sock"


@pytest.fixture
def server(path: Path) -> Iterator[TLSServer]:
    with serving(UnixAddress(path)) as running:
        yield running


@pytest.fixture
def link(server: TLSServer, path: Path) -> Iterator[BalancersEnd]:
    with BalancersEnd(path) as balancer:
        assert balancer.greeting() == 0
        yield balancer


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_handed_over_is_served_and_the_client_seen_by_its_own_address(
    link: BalancersEnd, family: socket.AddressFamily
) -> None:
    with tcp_pair(family) as (client, accepted):
        link.hand_over(accepted)
        host, port = client.getsockname()[:2]
        with shake_hands(client) as tls:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            assert ask(tls)["client"] == shown
        assert link.words() == ENDED


def test_a_second_balancer_is_told_how_many_connections_there_are(
    link: BalancersEnd, path: Path
) -> None:
    with tcp_pair() as (client, accepted):
        link.hand_over(accepted)
        with shake_hands(client), BalancersEnd(path) as other:
            assert other.greeting() == 1


def test_a_balancer_is_told_of_the_end_of_no_connection_but_its_own(
    link: BalancersEnd, path: Path
) -> None:
    """Otherwise its count of connections goes below zero, and least-connections with it."""
    with BalancersEnd(path) as other:
        assert other.greeting() == 0
        for _ in range(3):
            with tcp_pair() as (client, accepted):
                link.hand_over(accepted)
                reset(client)
                assert link.words() == ENDED
        with tcp_pair() as (client, accepted):
            other.send(accepted)
            assert other.words() == ACCEPTED


def test_a_connection_whose_balancer_hung_up_is_left_to_the_balancer(
    server: TLSServer, path: Path
) -> None:
    with tcp_pair() as (client, accepted):
        client.sendall(b"hello")
        with BalancersEnd(path) as link, Blocked():
            link.send(accepted)
            link.socket.shutdown(socket.SHUT_RD)
        with BalancersEnd(path) as link:
            assert link.greeting() == 0  # by now the first link has been read to its end
            accepted.settimeout(WITHIN)
            assert accepted.recv(100) == b"hello"
            accepted.sendall(b"from another server")
            assert client.recv(100) == b"from another server"


def test_a_connection_whose_balancer_died_is_not_served(server: TLSServer, path: Path) -> None:
    with tcp_pair() as (client, accepted):
        client.sendall(b"hello")
        with BalancersEnd(path) as link:
            link.greeting()
            with Blocked():
                link.send(accepted)
                accepted.close()
                link.socket.close()
        assert read_all(client) == b""


def test_a_byte_whose_descriptor_got_lost_is_refused_and_the_rest_go_on(
    link: BalancersEnd,
) -> None:
    link.socket.send(CONNECTION)
    assert link.words() == REFUSED
    with tcp_pair() as (client, accepted):
        link.hand_over(accepted)
        with shake_hands(client) as tls:
            ask(tls)


def test_connections_that_come_in_one_message_are_all_served(link: BalancersEnd) -> None:
    with ExitStack() as stack:
        pairs = [stack.enter_context(tcp_pair()) for _ in range(5)]
        descriptors = [accepted.fileno() for _, accepted in pairs]
        socket.send_fds(link.socket, [CONNECTION * 6], descriptors)  # the last one got lost
        assert link.words(6) == ACCEPTED * 5 + REFUSED
        for client, accepted in pairs:
            accepted.close()
            with shake_hands(client) as tls:
                ask(tls)


def test_clients_that_are_gone_when_they_arrive_harm_nobody(
    server: TLSServer, link: BalancersEnd
) -> None:
    for _ in range(5):
        with tcp_pair() as (client, accepted):
            reset(client)
            link.send(accepted)
            accepted.close()
            assert link.words(2) == ACCEPTED + ENDED
    assert not server._connections.connections
    with tcp_pair() as (client, accepted):
        link.hand_over(accepted)
        with shake_hands(client) as tls:
            ask(tls)


class Fails(Factory):
    """An application that fails for its first client, in one way or another."""

    def __init__(self, way: str) -> None:
        self.way = way

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        way, self.way = self.way, "works"
        if way == "raises":
            raise ValueError("no")
        if way == "refuses":
            return None
        return FailsAtOnce() if way == "raises later" else Protocol()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("raises", marks=pytest.mark.defect),
        "refuses",
        pytest.param("raises later", marks=pytest.mark.defect),
    ],
)
def test_an_application_that_fails_for_one_client_ends_that_connection_once(
    path: Path, way: str
) -> None:
    with serving(UnixAddress(path), Fails(way)) as server, BalancersEnd(path) as link:
        assert link.greeting() == 0
        with tcp_pair() as (client, accepted), tcp_pair() as (another, handed):
            link.hand_over(accepted)
            client.settimeout(5)
            assert read_all(client) == b"", "the client is left waiting"
            assert link.words() == ENDED
            eventually(lambda: not server._connections.connections, "nothing stays open", 5)
            link.send(handed)
            assert link.words() == ACCEPTED  # and no second ENDED
            handed.close()
            shake_hands(another).close()
            assert link.words() == ENDED


def test_a_balancer_that_is_busy_for_a_moment_does_not_lose_its_link(
    server: TLSServer, link: BalancersEnd
) -> None:
    """A UNIX socket takes 278 messages that nobody reads."""
    count = 400
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client, accepted = stack.enter_context(tcp_pair())
            link.hand_over(accepted)
            clients.append(client)
        for client in clients:
            reset(client)
        eventually(lambda: not server._connections.connections)
        assert link.words(count) == ENDED * count
        client, accepted = stack.enter_context(tcp_pair())
        link.hand_over(accepted)


class Started(Factory):
    """An application that needs its `startFactory`, as most do that open something."""

    protocol = Protocol
    noisy = False

    def __init__(self) -> None:
        self.happened: list[str] = []

    def startFactory(self) -> None:
        self.happened.append("started")

    def stopFactory(self) -> None:
        self.happened.append("stopped")


def test_the_application_is_started_and_stopped_as_on_a_port(path: Path) -> None:
    application = Started()
    with serving(UnixAddress(path), application), BalancersEnd(path) as link:
        link.greeting()
        assert application.happened == ["started"]
    assert application.happened == ["started", "stopped"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@needs_root
def test_another_user_cannot_hand_connections_over(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and str(place).startswith("/tmp/"):
            place.chmod(place.stat().st_mode | 0o011)
    path = folder / "s1.sock"
    with serving(UnixAddress(path)) as server:
        path.chmod(0o777)  # as if a wrong umask had let others in
        with BalancersEnd(path) as own:
            assert own.greeting() == 0
            spy = (
                "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
                "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n"
                "t = socket.socket(); f = t.fileno()\n"
                "try: socket.send_fds(s, [b'C'], [f]); print(s.recv(100))\n"
                "except OSError as error: print(b'')\n"
            )
            ran = subprocess.run(
                [sys.executable, "-c", spy, path], capture_output=True, text=True, timeout=30
            )
            assert (ran.stdout, ran.stderr) == ("b''\n", "")
            with tcp_pair() as (client, accepted):
                own.hand_over(accepted)
                with shake_hands(client) as tls:
                    ask(tls)
        assert server.running


def test_when_descriptors_run_out_no_accepted_client_is_lost(path: Path, tmp_path: Path) -> None:
    """Every connection is either served or refused, and so goes to another server."""
    files = certificates()
    script = Path(__file__).with_name("few_descriptors.py")
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, script, path, files.certificate, files.key, "60"],
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        env={**os.environ, "PYTHONPATH": str(script.parents[3])},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with BalancersEnd(path) as link, ExitStack() as stack:
            assert link.greeting() == 0
            served, refused = [], []
            for _ in range(80):
                client, accepted = stack.enter_context(tcp_pair())
                link.send(accepted)
                answer = link.words()
                while answer == ENDED:
                    answer = link.words()
                if answer == ACCEPTED:
                    accepted.close()
                    served.append(client)
                else:
                    assert answer == REFUSED
                    refused.append((client, accepted))
            assert len(served) > 20
            assert len(refused) > 20
            assert log.read_text().count("out of descriptors") == 1, "a line for each of them"
            for client in served:
                tls = stack.enter_context(shake_hands(client))
                assert json.dumps(ask(tls))
            for client, accepted in refused[:3]:
                client.sendall(b"unread")
                assert accepted.recv(100) == b"unread"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
