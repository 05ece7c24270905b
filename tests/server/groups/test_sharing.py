"""What names a session leaves its server when the others of the group know it, and not before."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol

from homing.server.groups.group import Group
from homing.server.groups.store.sqlite_backend import SqliteBackend
from homing.server.groups.store.threaded import ThreadedStore
from homing.server.service import UnixAddress
from homing.shared.id_sets import IdRange
from tests.reactor import WITHIN, call, eventually, reactor
from tests.server.running import BalancersEnd, serving, tls_port
from tests.tls import (
    RECORD,
    VERSIONS,
    ask,
    client_context,
    read_all,
    reset,
    shake_hands,
)

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


class Slow(SqliteBackend):
    """Takes its time to keep a value."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(path)
        self._seconds = seconds

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        time.sleep(self._seconds)
        super().put(name, value, lifetime)


@contextmanager
def member(
    path: Path,
    seconds: float,
    application: IProtocolFactory | None = None,
    name: str = "s1",
    deadline: float = 5.0,
    **tls: Any,
) -> Iterator[int]:
    """The port of a server whose group has the store at `path`."""
    ours = group(path, seconds, name, deadline)
    try:
        with tls_port(application, ours, tls) as (_, port):
            call(ours.start)
            yield port
    finally:
        call(ours.stop)


def group(path: Path, seconds: float, name: str = "s1", deadline: float = 5.0) -> Group:
    """A member's group, whose store at `path` is slow."""
    store = call(lambda: ThreadedStore(Slow(path, seconds), reactor(), deadline=deadline))
    members = ["s1", "s2"]
    return Group(reactor(), store, [RECORD], session_lifetime=7200.0, name=name, members=members)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[int]]:
    """The ports of two servers in a group whose store is slow to write."""
    with ExitStack() as stack:
        start = partial(member, tmp_path / "sessions.sqlite", 0.1)
        yield [stack.enter_context(start()) for _ in range(2)]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WITHIN)


@BOTH
def test_a_client_that_comes_back_at_once_to_another_server_resumes(
    version: ssl.TLSVersion, pair: list[int]
) -> None:
    for turn in range(4):
        here, there = pair[turn % 2], pair[1 - turn % 2]
        with shake_hands(connect(here), version) as tls:
            ask(tls)
            session = tls.session
        with shake_hands(connect(there), version, session) as tls:
            assert ask(tls)["resumed"] is True


def test_what_its_client_says_with_its_finished_is_answered(pair: list[int]) -> None:
    """In TLS 1.3 a client may ask before the server's answer to its Finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context(VERSIONS[1])
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connect(pair[0]) as plain:
        done = False
        while not done:
            try:
                client.do_handshake()
                done = True
                client.write(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        plain.sendall(outgoing.read())  # Finished and request in one segment
        answer = b""
        while b"}" not in answer:
            try:
                answer += client.read(1000)
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))
        assert answer.startswith(b"HTTP/1.1 200")


@BOTH
def test_a_store_that_hangs_holds_nobody_for_long(version: ssl.TLSVersion, tmp_path: Path) -> None:
    with member(tmp_path / "sessions.sqlite", 5.0, deadline=0.25) as port:
        begun = time.monotonic()
        with shake_hands(connect(port), version) as tls:
            assert ask(tls)["resumed"] is False
        assert time.monotonic() - begun < 4


class Greets(Protocol):
    """Says much before its client says anything, and hangs up."""

    BODY = bytes(range(256)) * (1 << 14)  # 4 MB

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.BODY)
        self.transport.loseConnection()


@BOTH
def test_what_a_server_sends_meanwhile_comes_whole_afterwards(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    path = tmp_path / "sessions.sqlite"
    with member(path, 0.1, Factory.forProtocol(Greets)) as port:
        for _ in range(2):
            with shake_hands(connect(port), version) as tls:
                assert read_all(tls) == Greets.BODY


@BOTH
def test_a_client_that_vanishes_meanwhile_harms_nobody(
    version: ssl.TLSVersion, pair: list[int]
) -> None:
    for _ in range(5):
        reset(shake_hands(connect(pair[0]), version))
    with shake_hands(connect(pair[0]), version) as tls:
        assert ask(tls)["resumed"] is False


@BOTH
def test_no_ticket_is_out_before_the_others_can_open_it(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    """Neither right after a start nor when the secret changes, though the store is slow."""
    tls: dict[str, Any] = {"resumption": "both", "ticket_secret_lifetime": 0.3}
    with ExitStack() as stack:
        ports = [
            stack.enter_context(member(tmp_path / "sessions.sqlite", 0.1, None, name, **tls))
            for name in ("s1", "s2")
        ]
        for turn in range(16):
            here, there = ports[turn % 2], ports[1 - turn % 2]
            with shake_hands(connect(here), version) as first:
                ask(first)
                session = first.session
            with shake_hands(connect(there), version, session) as second:
                assert ask(second)["resumed"] is True, turn


@pytest.mark.parametrize("resumption", ["ids", "both"])
def test_a_fresh_ticket_on_an_open_connection_is_out_when_the_others_know_it(
    resumption: str, tmp_path: Path
) -> None:
    """While a part leaves: its client may come back to another member at once."""
    old, new = IdRange.of_prefix(b"HOMEo"), IdRange.of_prefix(b"HOMEn")
    tls: dict[str, Any] = {"resumption": resumption}
    path = tmp_path / "sessions.sqlite"
    ours = group(path, 0.1)
    with ExitStack() as stack:
        stack.callback(call, ours.stop)
        factory, here = stack.enter_context(tls_port(None, ours, tls))
        there = stack.enter_context(member(path, 0.0, name="s2", **tls))
        call(ours.start)
        issuer = factory.context.issuer
        call(issuer.use, {1: old}, inf)
        with shake_hands(connect(here)) as client:
            ask(client)
            call(issuer.use, {2: new}, inf)
            call(issuer.leave, {1: (old, 600.0)})
            call(factory.replace_identifiers)
            eventually(lambda: call(lambda: issuer.live(2).sessions), "it has a fresh ticket")
            ask(client)
            session = client.session
        with shake_hands(connect(there), session=session) as client:
            answer = ask(client)
            assert answer["resumed"]
            assert answer["identifier"].startswith(b"HOMEn".hex())


def test_a_server_whose_store_hangs_starts_all_the_same(tmp_path: Path) -> None:
    begun = time.monotonic()
    with member(tmp_path / "sessions.sqlite", 5.0, deadline=0.25, resumption="both") as port:
        with shake_hands(connect(port)) as tls:
            assert ask(tls)["resumed"] is False
        assert time.monotonic() - begun < 4


def test_a_server_takes_connections_when_the_others_can_know_its_first_secret(
    tmp_path: Path,
) -> None:
    path, address = tmp_path / "sessions.sqlite", UnixAddress(tmp_path / "s1")
    with serving(address, group=group(path, 0.1), resumption="both"):
        with BalancersEnd(address.path) as link:
            assert link.greeting() == 0
            assert SqliteBackend(path).get(b"ticket secrets\0s1")
