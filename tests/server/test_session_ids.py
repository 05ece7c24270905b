"""IDs come from the live record, and failures stay with the connection that has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from OpenSSL import SSL

from server.context import server_context
from server.issuer import Issuer
from server.openssl import session_id, session_reused
from shared.id_sets import IdList, IdRange, Randbelow
from shared.record import Record
from tests.tls import RECORD, InMemory, options

TLS12, TLS13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
BOTH = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["TLS 1.2", "TLS 1.3"])


class Server:
    """A server's context with its session IDs."""

    def __init__(self, record: Record = RECORD, randbelow: Randbelow | None = None) -> None:
        self.issuer = Issuer(record, randbelow) if randbelow else Issuer(record)
        self.sessions = server_context(options(), self.issuer)
        self.context = self.sessions.context

    def meet(
        self, version: int, session: SSL.Session | None = None
    ) -> tuple[InMemory, list[bytes]]:
        """A finished handshake and the IDs issued in it."""
        pair = InMemory(self.context, version, session)
        issued = self.issuer.watch(pair.server).issued
        try:
            pair.shake_hands()
        finally:
            self.issuer.unwatch(pair.server)
        return pair, issued


@BOTH
def test_every_new_session_gets_ids_of_the_record_and_returning_ones_are_resumed(
    version: int,
) -> None:
    server = Server()
    first, issued = server.meet(version)
    assert len(issued) == (1 if version == TLS12 else 2)
    assert all(one in RECORD for one in issued)
    assert session_id(first.server) == issued[-1]

    second, again = server.meet(version, first.resumable())
    assert session_reused(second.server._ssl)
    assert len(again) == (0 if version == TLS12 else 1)
    assert all(one in RECORD and one not in issued for one in again)


@BOTH
def test_a_record_replaced_while_connections_run_is_used_from_the_next_id_on(version: int) -> None:
    server = Server()
    first, _ = server.meet(version)
    server.issuer.record = Record((IdRange.of_prefix(b"AWAY"),), epoch=1)
    assert first.says(b"still here") == b"still here"

    _, issued = server.meet(version)
    assert issued
    assert all(one.startswith(b"AWAY") for one in issued)

    second, _ = server.meet(version, first.resumable())
    assert session_reused(second.server._ssl)


@BOTH
def test_a_record_replaced_between_two_flights_is_the_one_drawn_from(version: int) -> None:
    server = Server()
    pair = InMemory(server.context, version)
    issued = server.issuer.watch(pair.server).issued
    with pytest.raises(SSL.WantReadError):
        pair.client.do_handshake()
    server.issuer.record = Record((IdRange.of_prefix(b"AWAY"),))
    pair.shake_hands()
    assert [one[:4] for one in issued] == [b"AWAY"] * (1 if version == TLS12 else 2)


@BOTH
def test_an_exhausted_record_fails_new_handshakes_and_nothing_else(version: int) -> None:
    few = 1 if version == TLS12 else 2
    last_ids = [bytes([number + 1]) * 32 for number in range(few)]
    server = Server(Record((IdList(last_ids),)))
    open_one, issued = server.meet(version)
    assert sorted(issued) == last_ids

    with pytest.raises(SSL.Error):
        server.meet(version)
    assert open_one.says(b"unharmed") == b"unharmed"

    server.issuer.record = RECORD
    _, issued = server.meet(version)
    assert issued
    assert all(one in RECORD for one in issued)
    again, _ = server.meet(version, open_one.resumable())
    assert session_reused(again.server._ssl)


def test_an_id_that_a_live_session_has_is_not_given_out_again() -> None:
    ids = [bytes([number]) * 32 for number in range(8)]
    server = Server(Record((IdList(ids),)))
    pairs = [server.meet(TLS12) for _ in ids]
    assert sorted(one for _, issued in pairs for one in issued) == ids


class Unlucky:
    """A source of randomness that fails."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self.error = error

    def __call__(self, below: int) -> int:
        raise self.error()


@pytest.mark.filterwarnings("ignore:Exception ignored from cffi")
@BOTH
@pytest.mark.parametrize("error", [ValueError, RecursionError, KeyboardInterrupt, SystemExit])
def test_no_exception_crosses_the_callback(version: int, error: type[BaseException]) -> None:
    server = Server(randbelow=Unlucky(error))
    with pytest.raises(SSL.Error):
        server.meet(version)
    assert server.issuer._watches == {}


def test_the_ids_of_one_connection_are_not_taken_for_those_of_another() -> None:
    server = Server()
    pairs = [InMemory(server.context, TLS13) for _ in range(5)]
    lists = [server.issuer.watch(pair.server).issued for pair in pairs]
    for pair in reversed(pairs):
        pair.shake_hands()
    everything = [one for issued in lists for one in issued]
    assert len(everything) == len(set(everything)) == 10
    for pair, issued in zip(pairs, lists, strict=True):
        assert session_id(pair.server) in issued
        server.issuer.unwatch(pair.server)
    assert server.issuer._watches == {}
