"""How connections end: what Twisted's tests ask of a TLS transport is asked of ours."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from tests.reactor import WITHIN, call, eventually, reactor
from tests.server.running import tls_port
from tests.server.tls.recording import HalfCloseable, Recorder, Recorders, finished, raw, recorded
from tests.tls import VERSIONS, read_all, read_exactly, reset

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


def goodbye(client: ssl.SSLSocket) -> None:
    """Send close_notify without waiting for the answer."""
    client.settimeout(0)
    with suppress(ssl.SSLWantReadError, BlockingIOError):
        client.unwrap()
    client.settimeout(WITHIN)


@BOTH
def test_what_is_written_before_the_end_comes_and_then_close_notify(
    version: ssl.TLSVersion,
) -> None:
    with recorded(version) as (app, client):
        call(lambda: (app.wire.write(b"last"), app.wire.loseConnection()))
        assert read_exactly(client, 4) == b"last"
        raw(client)
        assert client.recv(1) == b"", "a clean end"
        client.unwrap().close()
        assert finished(app) is ConnectionDone


@BOTH
def test_what_is_written_after_the_end_is_dropped(version: ssl.TLSVersion) -> None:
    with recorded(version) as (app, client):

        def end_twice() -> None:
            app.wire.write(b"a")
            app.wire.loseConnection()
            app.wire.write(b"b")
            app.wire.writeSequence([b"c"])
            app.wire.loseConnection()

        call(end_twice)
        assert read_all(client) == b"a"


@BOTH
def test_a_client_may_finish_its_upload_after_our_end(version: ssl.TLSVersion) -> None:
    with recorded(version) as (app, client):
        call(app.wire.loseConnection)
        assert client.recv(1) == b""
        client.sendall(b"the rest")
        eventually(lambda: app.received == b"the rest")
        assert app.lost is None
        client.close()
        assert finished(app) is ConnectionLost


def test_an_application_that_paused_and_ends_is_not_held_until_its_deadline() -> None:
    with recorded() as (app, client):
        call(lambda: (app.wire.pauseProducing(), app.wire.loseConnection()))
        client.sendall(b"unread")
        assert client.recv(1) == b""
        client.unwrap().close()
        assert finished(app) is ConnectionDone
        assert app.received == b"", "it had paused"


@BOTH
def test_the_clients_goodbye_ends_the_connection_after_what_is_still_to_be_sent(
    version: ssl.TLSVersion,
) -> None:
    body = bytes(1 << 22)
    with recorded(version) as (app, client):
        begun, said = threading.Event(), threading.Event()
        call(lambda: app.wire.write(b"x"))
        read_exactly(client, 1)  # and the tickets, which must not come after its goodbye, either

        def write() -> None:
            app.wire.write(body)
            begun.set()
            assert said.wait(WITHIN)  # nothing may come before: Python's client cannot bear it

        reactor().callFromThread(write)
        assert begun.wait(WITHIN)
        goodbye(client)
        said.set()
        assert len(read_all(client)) == len(body)
        assert finished(app) is ConnectionDone


@BOTH
def test_an_end_without_goodbye_is_told_from_one_with_it(version: ssl.TLSVersion) -> None:
    """Else whoever cuts a connection can pass half a message off as a whole."""
    with recorded(version) as (app, client):
        client.shutdown(socket.SHUT_WR)
        assert finished(app) is ConnectionLost
    with recorded(version) as (app, client):
        reset(client)
        assert finished(app) is ConnectionLost


@BOTH
def test_an_abort_drops_what_is_buffered_and_shows_no_clean_end(version: ssl.TLSVersion) -> None:
    with recorded(version) as (app, client):
        call(lambda: (app.wire.write(bytes(1 << 24)), app.wire.abortConnection()))
        raw(client)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            read_exactly(client, 1 << 24)
        assert finished(app) is ConnectionAborted


def test_an_abort_is_seen_though_another_process_has_a_copy_of_the_descriptor() -> None:
    """A balancer keeps its copy for a moment."""
    with recorded() as (app, client):
        copy = call(lambda: app.wire.socket.dup())
        with copy:
            call(app.wire.abortConnection)
            raw(client)
            with pytest.raises((ConnectionError, ssl.SSLError)):
                client.recv(1)
    with recorded() as (app, client):
        with call(lambda: app.wire.socket.dup()):
            call(app.wire.loseConnection)
            client.unwrap()
            assert finished(app) is ConnectionDone


def test_nothing_is_received_after_an_abort() -> None:
    class Aborts(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.wire.abortConnection()

    with recorded(kind=Aborts) as (app, client):
        with suppress(OSError):
            client.sendall(b"x" * 60_000)
        assert finished(app) is ConnectionAborted
        assert len(app.received) <= 1 << 14


def test_a_failed_handshake_tells_the_application_why() -> None:
    made = Recorders()
    with tls_port(made) as (_, port):
        with socket.create_connection(("127.0.0.1", port), WITHIN) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_all(client)
        (app,) = made.made
        assert issubclass(finished(app), SSL.Error)
        assert app.events == ["made", "lost"]


@pytest.mark.defect
def test_an_application_that_fails_ends_its_own_connection_only() -> None:
    class Fails(Recorder):
        def dataReceived(self, data: bytes) -> None:
            raise ValueError("no")

    made: Any = Recorders(Fails)
    with recorded() as (_, other):
        with recorded(kind=Fails) as (app, client):
            client.sendall(b"x")
            assert finished(app) is ValueError
        assert not made.made
        other.sendall(b"still here")


@BOTH
def test_one_that_outlives_the_clients_end_can_still_answer(version: ssl.TLSVersion) -> None:
    with recorded(version, HalfCloseable) as (app, client):
        client.sendall(b"question")
        goodbye(client)
        eventually(lambda: "read lost" in app.events)
        assert app.received == b"question"
        call(lambda: (app.wire.write(b"answer"), app.wire.loseConnection()))
        assert read_all(client) == b"answer"
        assert finished(app) is ConnectionDone


@BOTH
def test_one_that_ends_its_own_direction_can_still_read(version: ssl.TLSVersion) -> None:
    with recorded(version, HalfCloseable) as (app, client):
        call(lambda: (app.wire.write(b"all"), app.wire.loseWriteConnection()))
        assert read_all(client) == b"all"
        client.sendall(b"more")
        eventually(lambda: app.received == b"more")
        client.unwrap().close()
        assert finished(app) is ConnectionDone
        assert app.events == ["made", "handshake", "write lost", "read lost", "lost"]
