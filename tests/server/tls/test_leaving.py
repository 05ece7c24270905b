"""Clients that stay connected while a part leaves can come back elsewhere in its record."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from homing.server.service import TCPAddress, TLSServer
from homing.server.tls.transport import SessionTLSTransport
from homing.shared.id_sets import IdRange
from tests.reactor import HOST, WITHIN, call, eventually
from tests.server.running import free_port, serving
from tests.tls import Session, ask, shake_hands

OLD, NEW = IdRange.of_prefix(b"OLD!"), IdRange.of_prefix(b"NEW!")
FOREVER = float("inf")
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
KINDS = pytest.mark.parametrize("resumption", ["ids", "both"])


class Farm:
    """A server that draws from part 1 until that leaves, and its clients."""

    def __init__(self, server: TLSServer, port: int, stack: ExitStack) -> None:
        self.server = server
        self.issuer = server.issuer
        self._port = port
        self._stack = stack

    def client(self, version: ssl.TLSVersion, session: Session | None = None) -> ssl.SSLSocket:
        """One that is connected until the end."""
        connection = socket.create_connection((HOST, self._port), WITHIN)
        return self._stack.enter_context(shake_hands(connection, version, session))

    def part_leaves(self) -> None:
        """Part 2 is drawn from instead."""

        def leave() -> None:
            self.issuer.use({2: NEW}, FOREVER)
            self.server.leave({1: (OLD, 600.0)})

        call(leave)

    def newest(self) -> list[bytes]:
        """The start of the newest identifier of every open connection."""
        protocols: list[Any] = list(self.server._connections.connections)
        return [(one._state.newest or b"")[:4] for one in protocols]


@contextmanager
def farm(**tls: Any) -> Iterator[Farm]:
    port = free_port()
    with serving(TCPAddress(HOST, port), **tls) as server:
        with ExitStack() as stack:
            call(server.issuer.use, {1: OLD}, FOREVER)
            yield Farm(server, port, stack)


@KINDS
def test_connected_tls13_clients_are_sent_tickets_that_stay_even_if_they_are_silent(
    resumption: str,
) -> None:
    with farm(resumption=resumption) as running:
        clients = [running.client(TLS13) for _ in range(5)]
        assert all(ask(one)["issued"][0].startswith(b"OLD!".hex()) for one in clients)
        running.part_leaves()
        eventually(lambda: running.newest() == [b"NEW!"] * 5, "each was sent a ticket")
        issued = call(lambda: running.issuer.live(2).sessions)
        running.part_leaves()  # said again
        for one in clients:
            ask(one)
            answer = ask(running.client(TLS13, one.session))
            assert answer["resumed"]
            assert answer["identifier"].startswith(b"NEW!".hex())
        own = call(lambda: running.issuer.live(2).sessions) - issued
        assert own == 5, "one a visit, and no other"


@KINDS
def test_a_client_within_its_handshake_when_the_part_leaves_is_not_left_behind(
    resumption: str,
) -> None:
    with farm(resumption=resumption) as running:
        client = running.client(TLS13)  # its tickets may still be on their way
        running.part_leaves()
        ask(client)
        answer = ask(running.client(TLS13, client.session))
        assert answer["resumed"]
        assert answer["identifier"].startswith(b"NEW!".hex())


@KINDS
def test_connected_tls12_clients_renegotiate_where_they_may(resumption: str) -> None:
    with farm(resumption=resumption, renegotiation=True) as running:
        client = running.client(TLS12)
        ask(client)
        running.part_leaves()
        eventually(lambda: len(ask(client)["issued"]) == 2, "it has read the HelloRequest")
        assert [bytes.fromhex(one)[:4] for one in ask(client)["issued"]] == [b"OLD!", b"NEW!"]
        answer = ask(running.client(TLS12, client.session))
        assert answer["resumed"]
        assert answer["identifier"].startswith(b"NEW!".hex())


@pytest.mark.parametrize("version", [TLS12, TLS13])
@KINDS
def test_a_client_whose_identifier_stays_is_left_alone(
    resumption: str, version: ssl.TLSVersion
) -> None:
    with farm(resumption=resumption, renegotiation=True) as running:
        call(running.issuer.use, {2: NEW}, FOREVER)
        client = running.client(version)
        before = ask(client)["issued"]
        running.part_leaves()
        assert ask(client)["issued"] == before


@pytest.mark.defect
def test_a_connection_that_fails_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with farm() as running:
        clients = [running.client(TLS13) for _ in range(3)]
        assert all(ask(one)["issued"] for one in clients)
        whole = SessionTLSTransport.give_another
        failed: list[object] = []

        def fails_once(self: SessionTLSTransport) -> None:
            if not failed:
                failed.append(self)
                raise ValueError("no")
            whole(self)

        monkeypatch.setattr(SessionTLSTransport, "give_another", fails_once)
        running.part_leaves()
        eventually(lambda: sorted(running.newest()) == [b"NEW!", b"NEW!", b"OLD!"])
