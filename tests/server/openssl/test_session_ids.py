"""IDs come from the live record, and failures stay with the connection that has them."""

from __future__ import annotations

import gc
import time
import weakref

import pytest
from OpenSSL import SSL

from homing.server.openssl.calls import session_id, session_reused, session_ticket
from homing.shared.id_sets import IdList, IdRange
from homing.shared.record import Record
from tests.server.openssl.server import BOTH, TLS12, TLS13, Luck, Server
from tests.tls import RECORD, InMemory


def visit(
    server: Server, version: int, session: SSL.Session | None = None
) -> tuple[InMemory, list[bytes]]:
    """A finished handshake and the IDs issued in it."""
    pair, state = server.meet(version, session)
    return pair, state.issued


@BOTH
def test_every_new_session_gets_ids_of_the_record_and_returning_ones_are_resumed(
    version: int,
) -> None:
    server = Server()
    first, issued = visit(server, version)
    assert len(issued) == (1 if version == TLS12 else 2)
    assert all(one in RECORD for one in issued)
    assert session_id(first.server) == issued[-1]

    second, again = visit(server, version, first.resumable())
    assert session_reused(second.server)
    assert len(again) == (0 if version == TLS12 else 1)
    assert all(one in RECORD and one not in issued for one in again)


@BOTH
def test_a_record_replaced_while_connections_run_is_used_from_the_next_id_on(version: int) -> None:
    server = Server()
    first, _ = visit(server, version)
    server.issuer.record = Record((IdRange.of_prefix(b"AWAY"),), epoch=1)
    assert first.says(b"still here") == b"still here"

    _, issued = visit(server, version)
    assert issued
    assert all(one.startswith(b"AWAY") for one in issued)

    second, _ = visit(server, version, first.resumable())
    assert session_reused(second.server)


@BOTH
def test_a_record_replaced_between_two_flights_is_the_one_drawn_from(version: int) -> None:
    server = Server()
    pair = InMemory(server.sessions.ssl_context, version)
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    server.issuer.record = Record((IdRange.of_prefix(b"AWAY"),))
    pair.shake_hands()
    assert [one[:4] for one in pair.state.issued] == [b"AWAY"] * (1 if version == TLS12 else 2)


def test_a_client_for_whom_no_id_is_left_is_served_without_a_session() -> None:
    server = Server(Record((IdList([b"\1" * 32]),)))
    last, issued = visit(server, TLS12)
    assert issued == [b"\1" * 32]

    without, issued = visit(server, TLS12)
    assert issued == []
    assert session_id(without.client) == b""
    again, _ = visit(server, TLS12, last.resumable())
    assert session_reused(again.server)


def test_no_ticket_is_made_for_which_no_id_is_left() -> None:
    server = Server(Record((IdList([bytes([number]) * 32 for number in range(3)]),)))
    first, issued = visit(server, TLS13)
    assert len(issued) == 2
    second, issued = visit(server, TLS13)
    assert len(issued) == 1
    for client in (first, second):
        again, _ = visit(server, TLS13, client.resumable())
        assert session_reused(again.server)


@BOTH
def test_no_client_is_given_an_id_that_another_may_come_back_with(version: int) -> None:
    """Neither when OpenSSL's cache has forgotten that other's session."""
    ids = [bytes([n]) * 32 for n in range(8)]
    server = Server(Record((IdList(ids),)), session_cache=2)
    given: list[bytes] = []
    sessions = []
    for _ in range(10):
        client, issued = visit(server, version)
        given += issued
        if issued:
            sessions.append(client.resumable())
    assert sorted(given) == ids, "each to one client only"
    for session in sessions:
        visit(server, version, session)  # whether it resumes or not, it must not fail


@BOTH
def test_ids_can_be_given_out_again_after_the_sessions_lifetime(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = 1 if version == TLS12 else 2
    server = Server(Record((IdList([bytes([n + 1]) * 32 for n in range(few)]),)))
    old, issued = visit(server, version)
    old.resumable()
    assert visit(server, version)[1] == [], "too early"
    server.time += 7201
    later = time.time() + 7202
    monkeypatch.setattr(time, "time", lambda: later)
    _, again = visit(server, version)
    assert sorted(again) == sorted(issued)


@pytest.mark.filterwarnings("ignore:Exception ignored from cffi")
@BOTH
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_no_exception_crosses_the_callback(version: int, error: type[BaseException]) -> None:
    server = Server(randbelow=Luck(error))
    with pytest.raises(SSL.Error):
        visit(server, version)


@BOTH
@pytest.mark.parametrize("error", [ValueError, RecursionError, OSError])
def test_whatever_keeps_a_server_from_drawing_costs_sessions_and_no_connection(
    version: int, error: type[Exception]
) -> None:
    """A full disk, a user's function."""
    server = Server(randbelow=Luck(error))
    client, issued = visit(server, version)
    assert issued == []
    assert client.says(b"served") == b"served"
    assert (session_id(client.client), session_ticket(client.client)) == (b"", b"")


@BOTH
def test_a_client_that_comes_back_resumes_although_nothing_can_be_drawn(version: int) -> None:
    luck = Luck()
    server = Server(randbelow=luck)
    client, _ = visit(server, version)
    luck.error = OSError
    back, _ = visit(server, version, client.resumable())
    assert session_reused(back.server)


def test_the_ids_of_one_connection_are_not_taken_for_those_of_another() -> None:
    server = Server()
    pairs = [InMemory(server.sessions.ssl_context, TLS13) for _ in range(5)]
    for pair in reversed(pairs):
        pair.shake_hands()
    everything = [one for pair in pairs for one in pair.state.issued]
    assert len(everything) == len(set(everything)) == 10
    assert all(session_id(pair.server) in pair.state.issued for pair in pairs)


def test_what_is_noted_of_a_connection_goes_with_it() -> None:
    pair = visit(Server(), TLS13)[0]
    state = weakref.ref(pair.state)
    del pair
    gc.collect()
    assert state() is None


@BOTH
def test_a_record_that_is_empty_at_first_costs_no_handshake(version: int) -> None:
    server = Server(Record())
    client, issued = visit(server, version)
    assert issued == []
    server.issuer.record = RECORD
    back, issued = visit(server, version, client.resumable())
    assert not session_reused(back.server)
    assert issued
