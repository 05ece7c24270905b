"""While a part leaves, who comes back with an identifier of it gets another and loses nothing."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL

from homing.server.openssl.calls import (
    give_another_session,
    session_id,
    session_reused,
    session_ticket,
)
from homing.shared.id_sets import IdRange
from homing.shared.identifiers import KEY_NAME_LENGTH
from tests.server.openssl.server import BOTH, TLS12, TLS13, Luck, Server
from tests.tls import InMemory

OLD, NEW = IdRange.of_prefix(b"OLD!"), IdRange.of_prefix(b"NEW!")
KINDS = pytest.mark.parametrize("resumption", ["ids", "both"])
FOREVER = float("inf")


class Moving(Server):
    """A server whose part 1 leaves once it has given something out."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.issuer.use({1: OLD}, FOREVER)

    def part_leaves(self, seconds: float = 100.0) -> None:
        """Part 2 is drawn from instead."""
        self.issuer.use({2: NEW}, FOREVER)
        self.issuer.leave({1: (OLD, seconds)})

    def visit(self, version: int, session: SSL.Session | None = None) -> tuple[InMemory, bool]:
        """A client, and whether it resumed."""
        pair, _ = self.meet(version, session)
        return pair, session_reused(pair.server)


def brings_back(pair: InMemory) -> bytes:
    """The start of what the client would bring back."""
    return (session_ticket(pair.client)[:KEY_NAME_LENGTH] or session_id(pair.client))[:4]


@KINDS
def test_a_tls13_client_resumes_and_gets_an_identifier_that_stays(resumption: str) -> None:
    server = Moving(resumption=resumption)
    first, _ = server.visit(TLS13)
    assert brings_back(first) == b"OLD!"
    server.part_leaves()
    second, resumed = server.visit(TLS13, first.resumable())
    assert resumed
    assert brings_back(second) == b"NEW!"


def test_a_tls12_client_with_a_ticket_resumes_and_gets_one_that_stays() -> None:
    server = Moving(resumption="both", renew_tickets=False)
    first, _ = server.visit(TLS12)
    session = first.resumable()
    again, resumed = server.visit(TLS12, session)
    assert resumed
    assert brings_back(again) == b"OLD!", "nothing leaves yet"
    server.part_leaves()
    second, resumed = server.visit(TLS12, session)
    assert resumed
    assert brings_back(second) == b"NEW!"
    third, resumed = server.visit(TLS12, second.resumable())
    assert resumed
    assert third.state.issued == [], "it leaves no more"


def test_a_tls12_client_with_an_id_gets_one_that_stays_by_a_full_handshake() -> None:
    server = Moving()
    first, _ = server.visit(TLS12)
    server.part_leaves()
    second, resumed = server.visit(TLS12, first.resumable())
    assert not resumed
    assert second.state.leaves
    assert brings_back(second) == b"NEW!"
    assert server.resumes(TLS12, second.resumable())


def test_a_session_that_expires_before_its_part_leaves_is_resumed() -> None:
    server = Moving(session_lifetime=90)
    first, _ = server.visit(TLS12)
    server.part_leaves(100.0)
    assert server.resumes(TLS12, first.resumable())


@BOTH
@KINDS
def test_who_can_be_given_no_other_is_resumed_until_the_end(version: int, resumption: str) -> None:
    server = Moving(resumption=resumption)
    first, _ = server.visit(version)
    server.part_leaves()
    server.issuer.use({}, FOREVER)
    assert server.resumes(version, first.resumable())


@BOTH
@KINDS
def test_a_move_that_is_called_off_asks_nothing_of_clients(version: int, resumption: str) -> None:
    server = Moving(resumption=resumption, renew_tickets=False)
    first, _ = server.visit(version)
    server.part_leaves()
    server.issuer.use({1: OLD}, FOREVER)
    server.issuer.leave({})
    assert server.resumes(version, first.resumable())


@KINDS
def test_an_open_tls13_connection_is_sent_another_that_resumes(resumption: str) -> None:
    server = Moving(resumption=resumption)
    first, _ = server.visit(TLS13)
    server.part_leaves()
    give_another_session(first.server)
    first.carry(first.server, first.client)
    with pytest.raises(SSL.WantReadError):
        first.client.recv(1)
    assert brings_back(first) == b"NEW!"
    assert first.says(b"still here") == b"still here"
    assert server.resumes(TLS13, first.resumable())


@KINDS
def test_an_open_tls12_connection_renegotiates_where_that_is_allowed(resumption: str) -> None:
    server = Moving(resumption=resumption, renegotiation=True)
    first, _ = server.visit(TLS12)
    server.part_leaves()
    give_another_session(first.server)
    for _ in range(4):
        for side, other in ((first.server, first.client), (first.client, first.server)):
            first.carry(side, other)
            with pytest.raises(SSL.WantReadError):
                other.recv(1)
    assert first.client.total_renegotiations() == 1
    assert brings_back(first) == b"NEW!"
    assert first.says(b"still here") == b"still here"
    assert server.resumes(TLS12, first.resumable())


def test_an_open_tls12_connection_is_left_alone_where_it_is_not() -> None:
    server = Moving()
    first, _ = server.visit(TLS12)
    server.part_leaves()
    give_another_session(first.server)
    with pytest.raises(SSL.WantReadError):
        first.server.bio_read(1)
    assert first.says(b"still here") == b"still here"
    assert brings_back(first) == b"OLD!"


@KINDS
def test_an_open_connection_for_which_nothing_can_be_drawn_goes_on(resumption: str) -> None:
    luck = Luck()
    server = Moving(resumption=resumption, randbelow=luck)
    first, _ = server.visit(TLS13)
    server.part_leaves()
    luck.error = OSError
    give_another_session(first.server)
    first.carry(first.server, first.client)
    assert first.says(b"still here") == b"still here"
    with pytest.raises(SSL.WantReadError):
        first.client.recv(1)
    assert brings_back(first) == b"OLD!"
    assert server.resumes(TLS13, first.resumable())
