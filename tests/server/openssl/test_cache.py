"""What others do with an ID costs its client nothing, and OpenSSL keeps nothing of its own."""

from __future__ import annotations

from contextlib import suppress

import pytest
from OpenSSL import SSL
from OpenSSL._util import ffi

from homing.server.openssl.calls import exported_session, session_id, session_reused, session_ticket
from homing.server.openssl.functions import openssl
from homing.shared.candidates import Candidate, Carrier
from homing.shared.id_sets import IdList
from homing.shared.record import Record
from tests.logs import log
from tests.server.openssl.server import BOTH, TLS12, TLS13, Server
from tests.tls import RECORD

CUTS = pytest.mark.parametrize("cut", ["hello", "flight", "rubbish", "changed hello"])

_SESSIONS_KEPT = 20  # SSL_CTRL_SESS_NUMBER


class CachingServer(Server):
    """One that keeps its sessions."""

    def break_off(self, version: int, session: SSL.Session, cut: str) -> None:
        """Somebody who saw the hello of a client that comes back uses it, and fails."""
        pair = self.pair(version, session)
        with suppress(SSL.WantReadError):
            pair.client.do_handshake()
        hello = pair.client.bio_read(1 << 16)
        if cut == "changed hello":  # the PSK binder stands at its end
            hello = hello[:-1] + bytes([hello[-1] ^ 1])
        pair.server.bio_write(hello[:-1] if cut == "hello" else hello)
        with suppress(SSL.Error):
            pair.server.do_handshake()
        if cut == "rubbish":
            pair.server.bio_write(b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x28" + bytes(40))
            with pytest.raises(SSL.Error):
                pair.server.do_handshake()

    def kept_by_openssl(self) -> int:
        control = openssl().SSL_CTX_ctrl
        return int(control(self.sessions.ssl_context._context, _SESSIONS_KEPT, 0, ffi.NULL))


@CUTS
@BOTH
def test_a_handshake_that_breaks_off_costs_nobody_a_session(version: int, cut: str) -> None:
    server = CachingServer()
    sessions = [server.first(version) for _ in range(10)]
    for session in sessions:
        server.break_off(version, session, cut)
    assert [server.resumes(version, session) for session in sessions] == [True] * 10


@BOTH
def test_openssl_keeps_no_session_itself(version: int) -> None:
    """It would find them all by their first four bytes, one after the other."""
    server = CachingServer()
    sessions = [server.first(version) for _ in range(30)]
    assert all(server.resumes(version, session) for session in sessions)
    assert server.kept_by_openssl() == 0
    assert len(server.sessions.cache) == (30 if version == TLS12 else 30 * 2 + 30)


@BOTH
def test_a_client_that_vanishes_without_goodbye_is_known_again(version: int) -> None:
    server = CachingServer()
    pair = server.pair(version).shake_hands()
    pair.client.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)  # its own affair
    session = pair.client.get_session()
    assert session is not None
    del pair
    assert server.resumes(version, session)


def test_a_stateful_ticket_resumes_as_often_as_openssl_itself_lets_it() -> None:
    """Without early data, OpenSSL does not take it for a single use."""
    server = CachingServer()
    session = server.first(TLS13)
    assert [server.resumes(TLS13, session) for _ in range(4)] == [True] * 4


@BOTH
def test_a_session_is_not_found_from_the_moment_it_expires(version: int) -> None:
    server = CachingServer(session_lifetime=100)
    session = server.first(version)
    server.time = 99.9
    assert server.resumes(version, session)
    server.time = 100.0
    assert not server.resumes(version, session)


@pytest.mark.parametrize("resumption", ["both", "tickets"])
@BOTH
def test_what_lies_in_a_ticket_is_not_kept_as_well(version: int, resumption: str) -> None:
    server = CachingServer(resumption=resumption)
    assert server.resumes(version, server.first(version))
    assert len(server.sessions.cache) == 0


@BOTH
def test_a_client_that_got_no_id_leaves_no_session(version: int) -> None:
    server = CachingServer(Record((IdList([b"\1" * 32, b"\2" * 32]),)))
    holder = server.pair(version).shake_hands()
    kept = len(server.sessions.cache)
    server.pair(version).shake_hands()
    assert len(server.sessions.cache) == (2 if version == TLS12 else kept)
    without = server.pair(version).shake_hands()
    assert (session_id(without.client), session_ticket(without.client)) == (b"", b"")
    assert len(server.sessions.cache) == 2
    assert server.resumes(version, holder.resumable())


@BOTH
def test_a_session_that_is_spoilt_is_a_full_handshake_and_no_error(version: int) -> None:
    server = CachingServer()
    session = server.first(version)
    pair = server.pair(version, session)
    _, whole = exported_session(vars(session)["_session"])
    for broken in (b"", b"rubbish", whole[:-1], whole[:20]):
        cache = server.sessions.cache
        for identifier in list(cache._sessions):
            cache.put(identifier, broken)
        pair = server.pair(version, session).shake_hands()
        assert not session_reused(pair.server)
        assert pair.says(b"hello") == b"hello"


@pytest.mark.filterwarnings("ignore:Exception ignored from cffi")
@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@BOTH
def test_no_exception_crosses_the_callbacks(
    version: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = CachingServer()
    session = server.first(version)

    def fail(*whatever: object) -> None:
        raise error("on purpose")

    monkeypatch.setattr(server.sessions.cache, "put", fail)
    monkeypatch.setattr(server.sessions.cache, "get", fail)
    with log() as events:
        back = server.pair(version, session)
        monkeypatch.setattr(
            "homing.server.openssl.session_ids.SessionIdCallback._draw",
            lambda *_: b"HOME" + bytes(28),
        )
        back.shake_hands()
    assert not session_reused(back.server)
    assert back.says(b"hello") == b"hello"
    if issubclass(error, Exception):
        assert all("could not be kept or found" in line for line in events)
        assert events


def test_the_identity_that_a_session_was_found_by_is_noted() -> None:
    server = CachingServer()
    session = server.first(TLS13)
    back = server.pair(TLS13, session)
    state = back.shake_hands().state
    assert state.accepted is not None
    assert state.accepted in RECORD
    assert state.accepted not in state.issued
    assert state.found_by == Candidate(Carrier.PSK, state.accepted)
    assert state.found_by.brought == state.accepted
