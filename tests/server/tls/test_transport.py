"""Sessions survive how clients really behave, and nobody can hold a connection for nothing."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest
from twisted.internet.protocol import Factory, Protocol

from homing.server.tls.deadlines import Phase
from tests.reactor import WITHIN, Blocked, call, eventually
from tests.server.running import tls_port
from tests.tls import (
    VERSIONS,
    Session,
    ask,
    client_context,
    client_hello,
    end_of,
    read,
    read_all,
    read_exactly,
    reset,
    shake_hands,
)

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


def connect(port: int) -> socket.socket:
    """A TCP connection."""
    return socket.create_connection(("127.0.0.1", port), WITHIN)


def session_of(tls: ssl.SSLSocket) -> Session:
    """What the client can come back with."""
    assert tls.session is not None
    return tls.session


def say_goodbye(tls: ssl.SSLSocket) -> None:
    tls.unwrap().close()


def only_fin(tls: ssl.SSLSocket) -> None:
    tls.close()


LEAVING = pytest.mark.parametrize("leave", [reset, only_fin, say_goodbye])


@BOTH
@LEAVING
def test_a_client_is_known_again_however_it_left(
    version: ssl.TLSVersion, leave: object, request: pytest.FixtureRequest
) -> None:
    assert callable(leave)
    with tls_port() as (factory, port):
        with shake_hands(connect(port), version) as tls:
            first = ask(tls)
            session = session_of(tls)
            leave(tls)
        eventually(lambda: not factory.connections)
        assert first["resumed"] is False
        assert first["carrier"] is first["identifier"] is None
        assert first["protocol"] == ("TLSv1.2" if version is VERSIONS[0] else "TLSv1.3")
        assert len(first["issued"]) == (1 if version is VERSIONS[0] else 2)

        with shake_hands(connect(port), version, session) as tls:
            second = ask(tls)
        assert tls.session_reused or second["resumed"]
        assert second["resumed"] is True
        assert second["carrier"] == ("session-id" if version is VERSIONS[0] else "psk")
        assert second["identifier"] in first["issued"]
        assert len(second["issued"]) == (0 if version is VERSIONS[0] else 1)


@BOTH
def test_a_client_that_resets_before_it_reads_the_response_is_known_again(
    version: ssl.TLSVersion,
) -> None:
    with tls_port() as (factory, port):
        with shake_hands(connect(port), version) as tls:
            ask(tls)
            session = session_of(tls)
            tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reset(tls)
        eventually(lambda: not factory.connections)
        with shake_hands(connect(port), version, session) as tls:
            assert ask(tls)["resumed"] is True


@BOTH
def test_a_client_that_resets_within_its_handshake_harms_nobody(version: ssl.TLSVersion) -> None:
    with tls_port() as (factory, port):
        with shake_hands(connect(port), version) as tls:
            ask(tls)
            hello = client_hello(version)
            for cut in (1, 5, 50, len(hello) - 1, len(hello)):
                gone = connect(port)
                gone.sendall(hello[:cut])
                reset(gone)
            eventually(lambda: len(factory.connections) == 1)
            ask(tls)


@BOTH
def test_what_the_client_brought_is_known_even_if_it_came_byte_by_byte(
    version: ssl.TLSVersion,
) -> None:
    with tls_port() as (_, port):
        with shake_hands(connect(port), version) as tls:
            first = ask(tls)
            session = session_of(tls)
        with dripping(port) as slow, shake_hands(slow, version, session) as tls:
            second = ask(tls)
            assert second["resumed"] is True
            assert second["identifier"] in first["issued"]


def dripping(port: int) -> socket.socket:
    """A connection whose bytes reach the server one in a segment."""
    near, far = socket.socketpair()
    server = connect(port)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(source: socket.socket, target: socket.socket, size: int) -> None:
        with source:
            try:
                while data := source.recv(size):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    threading.Thread(target=carry, args=(far.dup(), server.dup(), 1), daemon=True).start()
    threading.Thread(target=carry, args=(server, far, 65536), daemon=True).start()
    return near


@pytest.mark.parametrize("sent", [0, 1, 60, -1], ids=["silent", "byte", "half", "almost all"])
def test_a_client_that_does_not_finish_its_handshake_is_cut_off(sent: int) -> None:
    hello = client_hello(VERSIONS[1])
    with tls_port(handshake_timeout=0.3) as (factory, port), connect(port) as client:
        client.sendall(hello[:sent] if sent else b"")
        assert read_all(client) == b""
        eventually(lambda: not factory.connections)


def test_a_client_that_stops_after_the_servers_flight_is_cut_off() -> None:
    with tls_port(handshake_timeout=0.3) as (factory, port), connect(port) as client:
        client.sendall(client_hello(VERSIONS[1]))
        assert read_all(client)
        eventually(lambda: not factory.connections)


@BOTH
def test_a_server_that_stood_still_does_not_hold_it_against_its_clients(
    version: ssl.TLSVersion,
) -> None:
    """What a client has sent meanwhile waits in the socket, and is read first."""
    with tls_port(handshake_timeout=0.5) as (factory, port), connect(port) as client:
        eventually(lambda: len(factory.connections) == 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context(version).wrap_bio(incoming, outgoing, server_hostname="localhost")
        client.settimeout(WITHIN)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                with Blocked():
                    client.sendall(outgoing.read())
                    time.sleep(1.2)
                incoming.write(client.recv(65536))
        client.sendall(outgoing.read())
        eventually(lambda: all(one._deadlines.phase is Phase.OPEN for one in factory.connections))


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05rubbi"])
def test_what_is_no_tls_is_refused_at_once(rubbish: bytes) -> None:
    with tls_port() as (factory, port), connect(port) as client:
        client.sendall(rubbish)
        client.settimeout(5)
        read_all(client)
        eventually(lambda: not factory.connections, within=5)


BODY = bytes(range(256)) * (1 << 14)  # 4 MB


class Sends(Protocol):
    """Answers the first bytes with `BODY` and hangs up."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(BODY)
        self.transport.loseConnection()


@BOTH
def test_a_slow_reader_gets_all_of_a_response_that_ends_the_connection(
    version: ssl.TLSVersion,
) -> None:
    with tls_port(Factory.forProtocol(Sends), goodbye_timeout=0.5) as (_, port):
        slow = connect(port)
        with shake_hands(slow, version) as tls:
            tls.sendall(b"x")
            got = b""
            for _ in range(8):  # it goes on reading, but takes longer than the deadline in all
                got += read_exactly(tls, len(BODY) // 8)
                time.sleep(0.15)
            assert got + read_all(tls) == BODY


def test_a_client_that_never_answers_close_notify_is_let_go() -> None:
    with tls_port(Factory.forProtocol(HangsUp), goodbye_timeout=0.3) as (factory, port):
        client = connect(port)
        with shake_hands(client) as tls:
            tls.sendall(b"x")
            eventually(lambda: not factory.connections)


class HangsUp(Protocol):
    """Closes on the first bytes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class Floods(Protocol):
    """Sends `BODY` four times and waits."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(BODY * 4)


def test_a_client_that_says_goodbye_and_reads_nothing_does_not_hold_the_response_in_memory() -> (
    None
):
    with tls_port(Factory.forProtocol(Floods), goodbye_timeout=0.5) as (factory, port):
        client = connect(port)
        with shake_hands(client) as tls:
            tls.sendall(b"x")
            read(tls)
            tls.settimeout(0)
            with pytest.raises((ssl.SSLError, BlockingIOError)):
                tls.unwrap()  # sends close_notify, and does not wait for the answer
            eventually(lambda: not factory.connections, within=8)


def test_an_application_that_hangs_up_at_once_costs_nothing() -> None:
    class Unwilling(Protocol):
        """Closes before the handshake."""

        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.loseConnection()

    with tls_port(Factory.forProtocol(Unwilling)) as (factory, port):
        assert end_of(("127.0.0.1", port)) == b""
        eventually(lambda: not factory.connections)


def test_many_connections_at_once_end_with_nothing_left_behind() -> None:
    with tls_port() as (factory, port):
        clients = [shake_hands(connect(port), VERSIONS[n % 2]) for n in range(40)]
        assert len(factory.connections) == 40
        assert all(ask(tls)["resumed"] is False for tls in clients)
        idle = []
        call(lambda: idle.append(factory.idle()))
        for number, tls in enumerate(clients):
            (reset if number % 3 else only_fin)(tls)
        eventually(lambda: idle[0].called, "idle() fires")
        assert not factory.connections
