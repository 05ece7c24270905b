"""A line for every connection: who came, what was resumed, and why not."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.protocol import Factory

from homing.server.service import UnixAddress
from homing.server.tls.connection_log import ConnectionLog, why_new
from homing.server.tls.session import Session
from homing.shared.candidates import Candidate, Carrier
from homing.shared.handoff import ENDED
from homing.shared.record import Record
from tests.logs import log
from tests.reactor import WITHIN, eventually
from tests.server.running import BalancersEnd, FailsAtOnce, serving, tls_port
from tests.tls import (
    RECORD,
    VERSIONS,
    ask,
    end_of,
    read_all,
    reset,
    shake_hands,
    tcp_pair,
)

BOTH = pytest.mark.parametrize(
    ("version", "carrier"),
    [(VERSIONS[0], "session-id"), (VERSIONS[1], "psk")],
    ids=["TLS 1.2", "TLS 1.3"],
)
OURS = b"HOME" + bytes(28)


def visit(
    port: int, version: ssl.TLSVersion, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession, str]:
    """Come and leave; returns the session, and the client's address."""
    plain = socket.create_connection(("127.0.0.1", port), WITHIN)
    host, number = plain.getsockname()
    with shake_hands(plain, version, session) as tls:
        ask(tls)
        assert tls.session is not None
        return tls.session, f"{host}:{number}"


@contextmanager
def logging(
    record: Callable[[], Record] = lambda: RECORD, **more: Any
) -> Iterator[tuple[list[str], int]]:
    """The lines of a server that logs its connections, and its port."""
    with log("homing.server.tls.connection_log") as lines:
        with tls_port(connection_log=ConnectionLog("s1", record), **more) as (_, port):
            yield lines, port


@BOTH
def test_a_client_that_comes_back_is_told_from_a_new_one(
    version: ssl.TLSVersion, carrier: str
) -> None:
    with logging() as (lines, port):
        session, first = visit(port, version)
        _, second = visit(port, version, session)
        eventually(lambda: len(lines) == 2)
    name = version.name.replace("_", ".")
    assert lines[0] == f"{first} {name} new session: it brought nothing"
    assert lines[1].startswith(f"{second} {name} resumed by {carrier} ")


@BOTH
def test_a_session_that_is_lost_is_told_from_one_of_another_server(
    version: ssl.TLSVersion, carrier: str
) -> None:
    with tls_port() as (_, port):
        session, _ = visit(port, version)
    said = []
    for record in (RECORD, Record()):
        with logging(partial(Record, record.parts)) as (lines, port):
            visit(port, version, session)
        (line,) = lines
        said.append(line.split("new session: ")[1])
    lost, strange = said
    assert lost == f"its {carrier} is of this server's record, but no longer known"
    assert strange == f"its {carrier} is not of this server's record"


def test_a_client_that_finishes_and_leaves_at_once_has_its_line() -> None:
    with logging() as (lines, port):
        plain = socket.create_connection(("127.0.0.1", port), WITHIN)
        with shake_hands(plain, VERSIONS[1]) as tls:
            reset(tls)
        eventually(lambda: len(lines) == 1)


def test_handshakes_that_fail_are_said_now_and_then_not_each() -> None:
    with logging() as (lines, port):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), WITHIN) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while plain.recv(100):
                    pass
    (line,) = lines
    assert "failed in its handshake: http request" in line


def test_one_that_says_nothing_is_no_handshake_and_hides_none_that_failed() -> None:
    """A balancer's probes come like that."""
    with logging() as (lines, port):
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b""):
            with socket.create_connection(("127.0.0.1", port), WITHIN) as plain:
                plain.sendall(words)
                with suppress(OSError):  # the server has reset it already
                    plain.shutdown(socket.SHUT_WR)
                while plain.recv(100):
                    pass
    (line,) = lines
    assert "failed in its handshake: http request" in line


@pytest.mark.defect
def test_what_breaks_the_log_breaks_no_connection() -> None:
    def broken() -> Record:
        raise RuntimeError("no record")

    with logging(broken) as (lines, port):
        visit(port, VERSIONS[1])
        eventually(lambda: len(lines) == 1)
    assert lines == ["a connection cannot be logged"]


@pytest.mark.parametrize(
    ("protocol", "brought", "why"),
    [
        ("TLSv1.3", [(Carrier.SESSION_ID, bytes(32))], "it brought nothing"),
        (
            "TLSv1.2",
            [(Carrier.SESSION_ID, bytes(32))],
            "its session-id is not of this server's record",
        ),
        (
            "TLSv1.3",
            [(Carrier.PSK, bytes(32)), (Carrier.PSK, OURS), (Carrier.SESSION_ID, bytes(32))],
            "its psk is of this server's record, but no longer known",
        ),
        (
            "TLSv1.2",
            [(Carrier.TICKET, bytes(16)), (Carrier.SESSION_ID, bytes(32))],
            "its ticket is not of this server's record",
        ),
    ],
)
def test_the_reason_is_what_tells_most(
    protocol: str, brought: list[tuple[Carrier, bytes]], why: str
) -> None:
    session = Session("TLSv1.2", False, None, (), frozenset([OURS]))
    candidates = tuple(Candidate(*one) for one in brought)
    assert why_new(evolve(session, protocol=protocol), candidates, RECORD) == why


def test_who_is_sent_elsewhere_on_purpose_can_be_told_from_who_was_forgotten() -> None:
    session = Session("TLSv1.2", False, None, (), leaves=True)
    why = why_new(session, (Candidate(Carrier.SESSION_ID, OURS),), RECORD)
    assert why == "its identifier leaves this server: it gets one that stays"


@pytest.mark.skipif(
    not shutil.which("openssl"), reason="the command openssl is missing: install OpenSSL"
)
@pytest.mark.parametrize("resumption", ["ids", "both"])
def test_a_session_that_does_not_fit_is_not_said_to_be_forgotten(
    resumption: str, tmp_path: Path
) -> None:
    """A PSK fits the ciphers of one hash only (RFC 8446, 4.2.11)."""
    kept = str(tmp_path / "session.pem")
    with logging(tls={"resumption": resumption}) as (lines, port):
        _ask_with("TLS_AES_256_GCM_SHA384", port, "-sess_out", kept)
        _ask_with("TLS_AES_128_GCM_SHA256", port, "-sess_in", kept)
    assert lines[1].endswith("its psk is of this server's record, but could not be used")


def _ask_with(suite: str, port: int, *more: str) -> None:
    address = f"127.0.0.1:{port}"
    subprocess.run(
        ["openssl", "s_client", "-connect", address, "-ign_eof", "-ciphersuites", suite, *more],
        input=b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )


@pytest.mark.defect
def test_an_application_that_fails_at_once_is_said_to_and_not_the_handshake(
    tmp_path: Path,
) -> None:
    address, application = UnixAddress(tmp_path / "s1"), Factory.forProtocol(FailsAtOnce)
    with (
        serving(address, application, log_connections=True),
        log("homing.server") as lines,
        BalancersEnd(address.path) as link,
    ):
        assert link.greeting() == 0
        for _ in range(2):
            with tcp_pair() as (client, accepted):
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")  # so that there is something to read
                link.hand_over(accepted)
                assert link.words() == ENDED
                assert read_all(client) == b""
    said = [one for one in lines if "failed" in one]
    assert said == ["the application failed for a connection"] * 2


@pytest.mark.defect
def test_an_application_that_fails_at_once_leaves_no_connection_open_on_relay() -> None:
    with log("homing.server") as lines, tls_port(Factory.forProtocol(FailsAtOnce)) as (_, port):
        assert end_of(("127.0.0.1", port)) == b""
    assert lines == ["the application failed for a connection"]
