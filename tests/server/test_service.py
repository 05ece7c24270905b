"""A server starts where it can, says why where it cannot, and ends cleanly."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import pytest
from twisted.internet.protocol import Factory, Protocol

from homing.server.service import GRACE, TCPAddress, UnixAddress, claim_socket
from homing.shared.errors import HomingError
from homing.shared.id_sets import IdList
from homing.shared.record import Record
from homing.shared.schemes.function import UserFunction
from tests.assigning import by_function
from tests.reactor import HOST, call, eventually, timers
from tests.server.running import BalancersEnd, free_port, serving
from tests.tls import (
    VERSIONS,
    ask,
    client_hello,
    read_all,
    shake_hands,
    tcp_pair,
)


def test_nobody_else_may_connect_to_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_the_socket_of_a_server_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    with serving(UnixAddress(path)), BalancersEnd(path) as link:
        assert link.greeting() == 0


def refusal(address: UnixAddress | TCPAddress) -> str:
    """What is said when the server cannot listen there."""
    with pytest.raises(HomingError) as refused, serving(address):
        pass
    return str(refused.value)


def test_a_server_that_runs_is_not_robbed_of_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path)):
        assert "another process listens" in refusal(UnixAddress(path))
        with BalancersEnd(path) as link:
            assert link.greeting() == 0


def test_a_hung_server_whose_queue_is_full_does_not_hang_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with (
        socket.socket(socket.AF_UNIX) as hung,
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as two,
    ):
        hung.bind(str(path))
        hung.listen(0)
        one.connect(str(path))
        two.setblocking(False)
        with pytest.raises(BlockingIOError):
            two.connect(str(path))
        said: list[str] = []

        def claim() -> None:
            try:
                claim_socket(path)
            except (HomingError, OSError) as error:
                said.append(str(error))

        thread = threading.Thread(target=claim, daemon=True)
        thread.start()
        thread.join(5)
        hung_up = thread.is_alive()
    thread.join(5)
    assert not hung_up, "it waits for the hung server"
    assert "another process listens" in said[0]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_that_is_in_the_way_is_not_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "notes"
    path.mkdir() if kind == "folder" else path.write_text("precious")
    assert "is not a socket" in refusal(UnixAddress(path))
    assert path.is_dir() if kind == "folder" else path.read_text() == "precious"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "theirs.sock"))  # nobody listens: a leftover, it seems
        path = tmp_path / "s1.sock"
        path.symlink_to("theirs.sock")
        assert "is not a socket" in refusal(UnixAddress(path))
        assert path.is_symlink()
        assert (tmp_path / "theirs.sock").exists()


def test_a_socket_where_anybody_could_put_theirs_is_not_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "can be written by others" in refusal(UnixAddress(tmp_path / "s1.sock"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["no/such/folder/s1.sock", "x" * 120])
def test_an_impossible_path_is_named(tmp_path: Path, name: str) -> None:
    assert str(tmp_path / name) in refusal(UnixAddress(tmp_path / name))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        text = refusal(TCPAddress(HOST, port))
    assert f"tcp:{HOST}:{port}" in text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_server_on_tcp_serves_ipv4_and_ipv6(host: str) -> None:
    port = free_port(host)
    with serving(TCPAddress(host, port)):
        with shake_hands(socket.create_connection((host, port))) as tls:
            shown = f"[{host}]" if ":" in host else host
            assert ask(tls)["client"].startswith(f"{shown}:")


NEVER = by_function(UserFunction(lambda identifier: None, ["s1"], print), ["s1"])["s1"]


@pytest.mark.parametrize("resumption", ["both", "ids", "tickets"])
@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("record", [Record(), NEVER], ids=["empty", "never named"])
def test_clients_of_a_server_without_any_identifier_are_served_all_the_same(
    record: Record, version: ssl.TLSVersion, resumption: str
) -> None:
    port = free_port()
    with serving(TCPAddress(HOST, port), record=record, resumption=resumption):
        session = None
        for _ in range(2):
            connection = socket.create_connection((HOST, port))
            with shake_hands(connection, version, session) as tls:
                answer = ask(tls)
                assert (answer["resumed"], answer["issued"]) == (False, [])
                session = tls.session
                assert session is None or not session.has_ticket
                assert session is None or version is ssl.TLSVersion.TLSv1_3 or not session.id


def test_handshakes_that_break_off_use_up_no_id() -> None:
    """Else anybody could leave a server with few of them without sessions."""
    port = free_port()
    record = Record((IdList([b"\1" * 32]),))
    hello = client_hello(ssl.TLSVersion.TLSv1_2)
    with serving(TCPAddress(HOST, port), record=record, resumption="ids") as server:
        guard = server.issuer._guard
        for _ in range(3):
            with socket.create_connection((HOST, port)) as connection:
                connection.sendall(hello)
                assert connection.recv(65536).find(b"\1" * 32) > 0
            eventually(lambda: guard is not None and guard._free, "the ID is free again")


class Echo(Protocol):
    """Says everything back."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def test_open_connections_finish_when_the_server_stops(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path), Factory.forProtocol(Echo)) as server:
        with BalancersEnd(path) as link, tcp_pair() as (client, accepted):
            link.greeting()
            link.hand_over(accepted)
            with shake_hands(client) as tls:
                done: list[object] = []
                call(lambda: done.append(server.stopService()))
                assert link.words() == b"", "the link ends"
                eventually(lambda: not path.exists(), "nobody can come any more")
                tls.sendall(b"last words")
                assert tls.recv(100) == b"last words"
                begun = time.monotonic()
                tls.close()
            eventually(lambda: getattr(done[0], "called", False), "the server has stopped")
            assert time.monotonic() - begun < GRACE - 1


def test_a_connection_on_its_way_when_the_server_stops_stays_the_balancers(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path)) as server, BalancersEnd(path) as link:
        link.greeting()
        with tcp_pair() as (client, accepted):
            client.sendall(b"hello")

            def stop_first() -> object:
                link.send(accepted)
                return server.stopService()

            call(stop_first)
            assert link.socket.recv(100) == b"" if not _was_reset(link) else True
            assert accepted.recv(100) == b"hello"


def _was_reset(link: BalancersEnd) -> bool:
    try:
        return link.socket.recv(100, socket.MSG_PEEK) != b""
    except ConnectionResetError:
        return True


def test_the_server_stops_cleanly_though_somebody_removed_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path)) as server:
        path.unlink()
        call(server.stopService)
    with serving(UnixAddress(path)):
        pass


def test_an_idle_client_does_not_hold_the_stop_beyond_its_grace_nor_outlive_it() -> None:
    port = free_port()
    with serving(TCPAddress(HOST, port)) as server:
        with shake_hands(socket.create_connection((HOST, port))) as tls:
            ask(tls)
            begun = time.monotonic()
            call(server.stopService)
            assert GRACE - 0.5 < time.monotonic() - begun < GRACE + 5
            tls.settimeout(5)
            assert read_all(tls) == b""
            eventually(lambda: not server._connections.connections, "nothing stays open", 5)


def test_a_stopped_server_leaves_no_timer_behind(tmp_path: Path) -> None:
    before = len(timers())
    path = tmp_path / "s1.sock"
    with serving(UnixAddress(path)), BalancersEnd(path) as link:
        link.greeting()
        with tcp_pair() as (client, accepted):
            link.hand_over(accepted)
            with shake_hands(client) as tls:
                ask(tls)
    eventually(lambda: len(timers()) <= before, "timers are gone", 5)
