"""Tickets route by the identifier they begin with; what is not ours costs a full handshake only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from homing.server.openssl.calls import exported_session, session_id, session_reused, session_ticket
from homing.server.openssl.connection_state import ConnectionState
from homing.server.openssl.functions import openssl
from homing.server.tls.self_test import run_self_test
from homing.shared.candidates import Carrier
from homing.shared.errors import HomingError
from homing.shared.id_sets import IdList
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.record import Record
from homing.shared.schemes.base import Need
from tests.assigning import assigned, records
from tests.logs import log
from tests.server.openssl.server import BOTH, TLS12, TLS13, Luck, Server
from tests.tls import RECORD


class TicketServer(Server):
    """One that makes tickets."""

    def __init__(self, *arguments: Any, **changes: Any) -> None:
        super().__init__(*arguments, **{"resumption": "both", **changes})


# A session whose ticket is another: OpenSSL's own form of it is DER, the ticket its part [10]

_OCTET_STRING, _SEQUENCE, _TICKET = 0x04, 0x30, 0xAA


def raw(session: SSL.Session) -> Any:
    """The ``SSL_SESSION *``."""
    return vars(session)["_session"]


def ticket_of(session: SSL.Session) -> bytes:
    """The ticket that a client would send."""
    return next(_content(value) for tag, value in _parts(session) if tag == _TICKET)


def with_ticket(session: SSL.Session, ticket: bytes) -> SSL.Session:
    """The session with another ticket."""
    parts = b"".join(
        _element(tag, _element(_OCTET_STRING, ticket) if tag == _TICKET else value)
        for tag, value in _parts(session)
    )
    der = ffi.new("unsigned char[]", _element(_SEQUENCE, parts))
    start = ffi.new("unsigned char **", der)
    made = openssl().d2i_SSL_SESSION(ffi.NULL, start, len(der) - 1)
    assert made != ffi.NULL
    changed = SSL.Session.__new__(SSL.Session)
    vars(changed)["_session"] = ffi.gc(made, lib.SSL_SESSION_free)
    return changed


def _parts(session: SSL.Session) -> Iterator[tuple[int, bytes]]:
    _, der = exported_session(raw(session))
    rest = _content(der)
    while rest:
        start, end = _extent(rest)
        yield rest[0], rest[start:end]
        rest = rest[end:]


def _extent(element: bytes) -> tuple[int, int]:
    """Where the content of an element starts and ends."""
    if element[1] < 0x80:
        return 2, 2 + element[1]
    start = 2 + (element[1] & 0x7F)
    return start, start + int.from_bytes(element[2:start], "big")


def _content(element: bytes) -> bytes:
    start, end = _extent(element)
    return element[start:end]


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def flipped(data: bytes, place: int) -> bytes:
    """With one bit of a byte changed."""
    changed = bytearray(data)
    changed[place] ^= 1 << place % 8
    return bytes(changed)


class TestTickets:
    @BOTH
    def test_every_ticket_begins_with_a_fresh_identifier_of_the_record(self, version: int) -> None:
        server = TicketServer()
        names = []
        for _ in range(10):
            pair, watch = server.meet(version)
            assert len(watch.issued) == (1 if version == TLS12 else 2)
            ticket = session_ticket(pair.client)
            assert ticket[:KEY_NAME_LENGTH] == watch.issued[-1]
            assert len(ticket) > LENGTH
            names += watch.issued
        assert len(set(names)) == len(names)
        assert all(len(name) == KEY_NAME_LENGTH and name in RECORD for name in names)

    @BOTH
    def test_tickets_of_one_server_share_no_byte_but_what_the_record_puts_there(
        self, version: int
    ) -> None:
        server = TicketServer()
        tickets = [ticket_of(server.first(version)) for _ in range(300)]
        places = range(min(map(len, tickets)))
        shared = [place for place in places if len({one[place] for one in tickets}) < 100]
        assert shared == [0, 1, 2, 3], "the bytes of HOME, and no other"

    @BOTH
    def test_a_server_that_keeps_no_sessions_resumes_them_all(self, version: int) -> None:
        server = TicketServer(resumption="tickets")
        sessions = [server.first(version) for _ in range(20)]
        assert [server.resumes(version, one) for one in sessions] == [True] * 20

    @BOTH
    def test_a_record_that_changes_leaves_the_tickets_that_are_out_alone(
        self, version: int
    ) -> None:
        server = TicketServer()
        session = server.first(version)
        server.issuer.record = a_list("s9", 50)
        _, watch = server.meet(version)
        assert watch.issued
        assert all(name in server.issuer.record for name in watch.issued)
        assert server.resumes(version, session)

    @BOTH
    @pytest.mark.parametrize("lifetime", [0, 43_200])
    def test_a_client_gets_another_ticket_at_every_visit(self, version: int, lifetime: int) -> None:
        """TLS 1.3: so that no two visits can be linked (RFC 8446, C.4).

        TLS 1.2: Firefox and Bun bring none a second time, and resumed every other visit only.
        """
        server, names = TicketServer(ticket_secret_lifetime=lifetime), set[bytes]()
        session = server.first(version)
        for _ in range(8):
            names.add(ticket_of(session)[:KEY_NAME_LENGTH])
            pair, watch = server.meet(version, session)
            assert session_reused(pair.server)
            assert watch.accepted == ticket_of(session)[:KEY_NAME_LENGTH]
            assert watch.found_by is not None
            assert watch.found_by.carrier == (Carrier.TICKET if version == TLS12 else Carrier.PSK)
            assert watch.found_by.identifier == watch.accepted
            assert watch.found_by.brought == ticket_of(session)[:LENGTH]
            assert watch.issued
            session = pair.resumable()
        assert len(names) == 8

    def test_a_tls12_client_keeps_its_ticket_where_none_are_renewed(self) -> None:
        server = TicketServer(renew_tickets=False)
        session = server.first(TLS12)
        for _ in range(3):
            pair, watch = server.meet(TLS12, session)
            assert session_reused(pair.server)
            assert watch.issued == []
            assert ticket_of(pair.resumable()) == ticket_of(session)

    @pytest.mark.parametrize("scheme", ["hash", "seeded", "keyed"])
    @BOTH
    def test_tickets_of_schemes_by_function_lead_home(self, version: int, scheme: str) -> None:
        record = records(assigned(scheme, ["s1", "s2", "s3"]))["s2"]
        server = TicketServer(record)
        run_self_test(server.sessions)
        session = server.first(version)
        assert ticket_of(session)[:KEY_NAME_LENGTH] in record
        assert server.resumes(version, session)


class TestClientsWithoutTickets:
    def test_they_resume_by_an_id_of_the_record(self) -> None:
        server = TicketServer()
        pair, watch = server.meet(TLS12, takes_tickets=False)
        assert watch.issued == [session_id(pair.client)]
        assert watch.issued[0] in RECORD
        back, watch = server.meet(TLS12, pair.resumable(), takes_tickets=False)
        assert session_reused(back.server)
        brought = session_id(pair.client)
        assert watch == ConnectionState(
            accepted=brought, carrier=Carrier.SESSION_ID, brought=brought
        )

    def test_where_there_are_tickets_only_they_are_served_each_time_anew(self) -> None:
        server = TicketServer(resumption="tickets")
        pair, watch = server.meet(TLS12, takes_tickets=False)
        assert session_id(pair.client) == b""
        assert watch.issued == []
        back, _ = server.meet(TLS12, pair.resumable(), takes_tickets=False)
        assert not session_reused(back.server)


@cache
def one_server(version: int) -> tuple[TicketServer, SSL.Session]:
    """A server, and a client of it, for many forgeries."""
    server = TicketServer()
    return server, server.first(version)


class TestForeignTickets:
    """Full handshake, no error for the client, and nothing in the log."""

    def served_anew(self, server: TicketServer, version: int, session: SSL.Session) -> None:
        with log() as events:
            pair, watch = server.meet(version, session)
        assert not session_reused(pair.server)
        assert watch.issued, "the client gets nothing to come back with"
        assert events == []
        assert server.resumes(version, pair.resumable())

    @BOTH
    def test_the_tool_of_these_tests_leaves_a_session_whole(self, version: int) -> None:
        server, session = one_server(version)
        assert server.resumes(version, with_ticket(session, ticket_of(session)))

    @BOTH
    def test_a_session_is_exported_whole_however_long_it_is(self, version: int) -> None:
        _, session = one_server(version)
        for length in (1, 3000, 4096, 5000, 60_000):
            assert ticket_of(with_ticket(session, b"t" * length)) == b"t" * length

    @BOTH
    def test_a_ticket_forged_in_any_byte(self, version: int) -> None:
        server, session = one_server(version)
        ticket = ticket_of(session)
        for place in range(len(ticket)):
            assert not server.resumes(version, with_ticket(session, flipped(ticket, place))), place
        self.served_anew(server, version, with_ticket(session, flipped(ticket, 3)))
        assert server.resumes(version, session), "what others forge harms the true client"

    @BOTH
    def test_a_ticket_truncated_anywhere(self, version: int) -> None:
        server, session = one_server(version)
        ticket = ticket_of(session)
        for length in range(1, len(ticket)):
            assert not server.resumes(version, with_ticket(session, ticket[:length])), length
        self.served_anew(server, version, with_ticket(session, ticket[:40]))

    @BOTH
    def test_a_ticket_with_more_at_its_end(self, version: int) -> None:
        server, session = one_server(version)
        for more in (b"\0", b"x" * 16, b"y" * 4000):
            self.served_anew(server, version, with_ticket(session, ticket_of(session) + more))

    @BOTH
    def test_a_ticket_of_another_server_although_its_name_is_ours(self, version: int) -> None:
        one, other = TicketServer(), TicketServer()
        session = one.first(version)
        assert ticket_of(session)[:KEY_NAME_LENGTH] in other.issuer.record
        self.served_anew(other, version, session)
        mine = ticket_of(other.first(version))
        for taken in (KEY_NAME_LENGTH, LENGTH):  # our name, and even our IV
            grafted = mine[:taken] + ticket_of(session)[taken:]
            self.served_anew(other, version, with_ticket(session, grafted))
        assert one.resumes(version, session)

    @BOTH
    def test_a_ticket_from_before_a_restart(self, version: int) -> None:
        session = TicketServer().first(version)
        self.served_anew(TicketServer(), version, session)

    @BOTH
    def test_a_ticket_where_none_are_made_any_more(self, version: int) -> None:
        session = TicketServer().first(version)
        self.served_anew(TicketServer(resumption="ids"), version, session)

    @BOTH
    @settings(max_examples=50)
    @given(rubbish=st.binary(min_size=1, max_size=400))
    def test_anything_else(self, version: int, rubbish: bytes) -> None:
        server, session = one_server(version)
        assert not server.resumes(version, with_ticket(session, rubbish))


class TestRotation:
    @BOTH
    def test_secrets_that_change_with_every_ticket_lose_nobody(self, version: int) -> None:
        server = TicketServer(ticket_secret_lifetime=0)
        sessions = [server.first(version) for _ in range(30)]
        assert [server.resumes(version, one) for one in sessions] == [True] * 30

    def test_a_ticket_of_an_older_secret_is_taken_and_a_new_one_given(self) -> None:
        server = TicketServer(ticket_secret_lifetime=0.2, renew_tickets=False)
        session = server.first(TLS12)
        time.sleep(0.25)
        pair, watch = server.meet(TLS12, session)
        assert session_reused(pair.server)
        renewed = pair.resumable()
        assert watch.issued == [ticket_of(renewed)[:KEY_NAME_LENGTH]]
        assert ticket_of(renewed) != ticket_of(session)
        assert server.resumes(TLS12, renewed)

    @BOTH
    def test_a_ticket_is_accepted_as_long_as_its_session_lives(
        self, version: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = TicketServer(ticket_secret_lifetime=100, session_lifetime=1000)
        session, begun = server.first(version), time.time()
        for passed, resumed in ((999, True), (1100, False)):
            monkeypatch.setattr(time, "time", lambda passed=passed: begun + passed)
            assert server.resumes(version, session) is resumed

    def test_openssl_resumes_no_expired_session_although_the_secret_of_its_ticket_lives(
        self,
    ) -> None:
        server = TicketServer(session_lifetime=1)
        sessions = {version: server.first(version) for version in (TLS12, TLS13)}
        time.sleep(2.1)  # some versions of OpenSSL count in whole seconds
        for version, session in sessions.items():
            assert not server.resumes(version, session)


def few(count: int) -> Record:
    """The record of a server that asks for so many IDs."""
    return records(assigned("range", [Need("s1", max_ids=count)]))["s1"]


def a_list(name: str, count: int) -> Record:
    """A record of the scheme list."""
    return records(assigned("list", [Need(name, max_ids=count)]))[name]


class TestSmallRecords:
    @BOTH
    @pytest.mark.parametrize("record", [few(1), few(2), few(7), a_list("s1", 3)])
    def test_a_server_with_few_ids_makes_tickets_that_resume(
        self, version: int, record: Record
    ) -> None:
        server = TicketServer(record)
        run_self_test(server.sessions)
        sessions = [server.first(version) for _ in range(8)]
        tickets = [ticket_of(one) for one in sessions]
        assert all(ticket[:KEY_NAME_LENGTH] in server.issuer.record for ticket in tickets)
        assert len({ticket[KEY_NAME_LENGTH:LENGTH] for ticket in tickets}) == 8
        assert [server.resumes(version, one) for one in sessions] == [True] * 8

    @BOTH
    def test_ids_in_use_do_not_turn_away_the_clients_that_take_tickets(self, version: int) -> None:
        server = TicketServer(few(1))
        holder, _ = server.meet(TLS12, takes_tickets=False)
        assert session_id(holder.client) in server.issuer.record
        session = server.first(version)
        assert server.resumes(version, session)

    @BOTH
    def test_ids_too_long_for_a_ticket_leave_session_ids_and_a_word_in_the_log(
        self, version: int
    ) -> None:
        ids = [bytes([number]) * LENGTH for number in range(1, 30)]
        with log() as events:
            server = TicketServer(Record((IdList(ids),)))
        assert ["session IDs only" in line for line in events] == [True]
        run_self_test(server.sessions)
        pair, watch = server.meet(version)
        assert watch.issued
        assert set(watch.issued) <= set(ids)
        assert server.resumes(version, pair.resumable())

    def test_who_wants_tickets_only_is_told_that_its_ids_are_too_long(self) -> None:
        record = Record((IdList([b"\1" * LENGTH]),))
        with pytest.raises(HomingError, match=r'16 bytes.* or set resumption = "ids"'):
            TicketServer(record, resumption="tickets")


class TestFailures:
    @BOTH
    @pytest.mark.parametrize("error", [OSError, ValueError])
    def test_a_server_that_can_draw_no_more_still_resumes_what_it_gave_out(
        self, version: int, error: type[Exception]
    ) -> None:
        """`keyed` on a full disk, say."""
        luck = Luck()
        server = TicketServer(randbelow=luck)
        session = server.first(version)
        luck.error = error
        assert server.resumes(version, session)

    @BOTH
    def test_it_serves_new_clients_too_only_without_a_ticket(self, version: int) -> None:
        server = TicketServer(randbelow=Luck(OSError))
        with log() as events:
            pair, watch = server.meet(version)
        assert watch.issued == []
        assert session_ticket(pair.client) == b""
        assert ["no identifier" in line for line in events] == [True]

    @pytest.mark.filterwarnings("ignore:Exception ignored from cffi")
    @BOTH
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_no_exception_crosses_the_callback(
        self, version: int, error: type[BaseException]
    ) -> None:
        luck = Luck()
        server = TicketServer(randbelow=luck)
        open_one, _ = server.meet(version)
        luck.error = error
        with pytest.raises(SSL.Error):
            server.meet(version)
        assert open_one.says(b"unharmed") == b"unharmed"
