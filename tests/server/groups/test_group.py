"""A hello does not wait long for the group, and the group learns of clients' sessions only."""

from __future__ import annotations

import time
from secrets import token_bytes

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from homing.server.groups.group import Group
from homing.server.groups.store.base import LARGEST_VALUE
from homing.server.identifiers.ticket_secrets import TicketSecrets
from homing.server.openssl.calls import session_reused, session_ticket
from homing.server.openssl.connection_state import ConnectionState
from homing.server.tls.context import ServerContext, server_context
from homing.server.tls.self_test import run_self_test
from homing.shared.candidates import Candidate, Carrier
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from tests.tls import RECORD, InMemory, issuer, options


class Memory:
    """A store whose every answer takes `seconds`."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.asked: list[bytes] = []
        self.kept: dict[bytes, bytes] = {}
        self._clock = clock
        self.seconds = seconds
        self.seconds_to_put = 0.0

    async def get(self, name: bytes) -> bytes | None:
        self.asked.append(name)
        waiting: Deferred[None] = Deferred()
        self._clock.callLater(self.seconds, waiting.callback, None)
        await waiting
        return self.kept.get(name)

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        waiting: Deferred[None] = Deferred()
        self._clock.callLater(self.seconds_to_put, waiting.callback, None)
        if self.seconds_to_put:
            await waiting
        self.kept[name] = value

    async def close(self) -> None:
        """Nothing to let go."""


def brought(count: int) -> list[Candidate]:
    """What a hello with so many PSKs of ours brings."""
    names = [b"HOME" + bytes([number]) * (LENGTH - 4) for number in range(count)]
    return [Candidate(Carrier.PSK, name, name) for name in names]


def group(clock: Clock, store: Memory, name: str = "s1") -> Group:
    return Group(
        clock, store, [RECORD], session_lifetime=7200.0, name=name, members=["s1", "s2", "s3"]
    )


def test_a_hello_full_of_identifiers_asks_the_store_a_few_times_at_most() -> None:
    clock = Clock()
    store = Memory(clock)
    ours = group(clock, store)
    Deferred.fromCoroutine(ours.fetch(ConnectionState(), ours.wanted(brought(17))))
    for _ in range(50):
        clock.advance(0.001)
    assert 1 <= len(store.asked) <= 4


def test_a_slow_store_holds_a_hello_for_two_operations_at_most() -> None:
    clock = Clock()
    store = Memory(clock, 0.24)
    ours = group(clock, store)
    done: list[None] = []
    Deferred.fromCoroutine(ours.fetch(ConnectionState(), ours.wanted(brought(4)))).addCallback(
        done.append
    )
    clock.pump([0.01] * 49)
    assert done == [None]


def test_the_first_session_that_is_found_is_enough() -> None:
    clock = Clock()
    store = Memory(clock)
    giver = group(clock, store)
    sessions = server_context(options(), issuer(), giver)
    client = InMemory(sessions.ssl_context, SSL.TLS1_2_VERSION).shake_hands()
    name = next(iter(store.kept))
    taker = group(clock, store)
    sessions = server_context(options(), issuer(), taker)
    known = Candidate(Carrier.SESSION_ID, name[-LENGTH:], name[-LENGTH:])
    back = InMemory(sessions.ssl_context, SSL.TLS1_2_VERSION, client.resumable())
    Deferred.fromCoroutine(taker.fetch(back.state, [known, *brought(3)]))
    clock.pump([0.001] * 10)
    assert store.asked == [name]
    assert session_reused(back.shake_hands().server)
    assert back.state.accepted == name[-LENGTH:]


def test_the_self_tests_own_sessions_are_nobody_elses() -> None:
    clock = Clock()
    store = Memory(clock)
    ours = group(clock, store)
    run_self_test(server_context(options(), issuer(), ours))
    assert store.kept == {}


def test_a_hello_waits_for_the_exchange_of_secrets_that_is_under_way() -> None:
    """The first client after a restart may come before the secrets do."""
    clock = Clock()
    store = Memory(clock)
    before, after = group(clock, store), group(clock, store)
    old = server_context(options(resumption="both"), issuer(), before)
    before.start()
    clock.pump([0.001] * 10)
    client = InMemory(old.ssl_context, SSL.TLS1_3_VERSION).shake_hands()
    ticket = session_ticket(client.client)
    known = Candidate(Carrier.PSK, ticket[:KEY_NAME_LENGTH], ticket)

    store.seconds = 0.2
    new = server_context(options(resumption="both"), issuer(), after)
    after.start()
    clock.advance(0.001)
    done: list[None] = []
    for _ in range(3):
        fetching = Deferred.fromCoroutine(after.fetch(ConnectionState(), after.wanted([known])))
        fetching.addCallback(done.append)
    assert done == []
    clock.pump([0.01] * 49)
    assert done == [None] * 3
    assert session_reused(
        InMemory(new.ssl_context, SSL.TLS1_3_VERSION, client.resumable()).shake_hands().server
    )
    for one in (before, after):
        one._refreshing.stop()


def member(clock: Clock, store: Memory, name: str) -> tuple[Group, ServerContext]:
    """A server that makes tickets, and has shared its first secret."""
    ours = group(clock, store, name)
    sessions = server_context(options(resumption="both"), issuer(), ours)
    ours.start()
    return ours, sessions


def back(
    clock: Clock,
    one: tuple[Group, ServerContext],
    client: InMemory,
    version: int = SSL.TLS1_3_VERSION,
) -> bool:
    """Whether a client resumes with its ticket at a server, which looks for its secret before."""
    ticket = session_ticket(client.client)
    known = Candidate(Carrier.PSK, ticket[:KEY_NAME_LENGTH], ticket)
    Deferred.fromCoroutine(one[0].fetch(ConnectionState(), one[0].wanted([known])))
    clock.pump([0.01] * 60)
    again = InMemory(one[1].ssl_context, version, client.resumable()).shake_hands()
    return session_reused(again.server)


def test_servers_that_start_at_the_same_moment_lose_no_secret() -> None:
    clock = Clock()
    store = Memory(clock, 0.01)
    members = [member(clock, store, name) for name in ("s1", "s2", "s3")]
    clock.pump([0.001] * 30)
    for here in members:
        for there in members:
            client = InMemory(here[1].ssl_context, SSL.TLS1_3_VERSION).shake_hands()
            assert back(clock, there, client)
    for one, _ in members:
        one._refreshing.stop()


def test_a_server_that_starts_has_shared_its_secret_before_it_says_so() -> None:
    clock = Clock()
    store = Memory(clock, 0.1)
    ours = group(clock, store)
    server_context(options(resumption="both"), issuer(), ours)
    started: list[int] = []
    ours.start().addCallback(lambda _: started.append(len(store.kept)))
    assert started == []
    clock.pump([0.01] * 15)
    assert started == [1]
    ours._refreshing.stop()


def test_a_member_finds_its_own_secrets_after_a_restart() -> None:
    clock = Clock()
    store = Memory(clock)
    before = member(clock, store, "s1")
    clock.pump([0.001] * 10)
    client = InMemory(before[1].ssl_context, SSL.TLS1_3_VERSION).shake_hands()
    before[0]._refreshing.stop()
    after = member(clock, store, "s1")
    clock.pump([0.001] * 10)
    store.kept.clear()
    assert back(clock, after, client)
    after[0]._refreshing.stop()


def test_what_lies_in_the_store_and_is_no_secret_hides_no_others() -> None:
    clock = Clock()
    store = Memory(clock)
    here = member(clock, store, "s1")
    clock.pump([0.001] * 10)
    client = InMemory(here[1].ssl_context, SSL.TLS1_3_VERSION).shake_hands()
    store.kept[b"ticket secrets\0s3"] = b"junk"
    there = member(clock, store, "s2")
    clock.pump([0.001] * 10)
    assert back(clock, there, client)
    for one in (here, there):
        one[0]._refreshing.stop()


def test_tickets_that_nobody_made_ask_the_store_at_a_bounded_rate() -> None:
    clock = Clock()
    store = Memory(clock, 0.01)
    ours, _ = member(clock, store, "s1")
    clock.pump([0.01] * 10)
    store.asked.clear()
    done: list[None] = []
    for _ in range(100):
        forged = [Candidate(Carrier.PSK, one.identifier[:16], bytes(90)) for one in brought(4)]
        for _ in range(20):
            fetching = Deferred.fromCoroutine(ours.fetch(ConnectionState(), ours.wanted(forged)))
            fetching.addCallback(done.append)
        clock.advance(0.01)
    clock.pump([0.01] * 10)
    assert len(done) == 2000, "none waits for ever"
    assert len(store.asked) <= 23 * 3, "one look in 50 ms, at the values of three members"
    ours._refreshing.stop()


def test_a_clock_that_was_put_back_holds_no_hello() -> None:
    clock = Clock()
    ours, _ = member(clock, Memory(clock), "s1")
    clock.advance(0.01)
    clock.rightNow -= 3600.0
    done: list[None] = []
    forged = [Candidate(Carrier.PSK, one.identifier[:16], bytes(90)) for one in brought(1)]
    Deferred.fromCoroutine(ours.fetch(ConnectionState(), forged)).addCallback(done.append)
    clock.pump([0.01] * 10)
    assert done == [None]
    ours._refreshing.stop()


def test_a_ticket_waits_for_its_secret_and_no_longer() -> None:
    clock = Clock()
    store = Memory(clock)
    ours = group(clock, store)
    lifetime = 1e-9  # a secret for each ticket
    made = server_context(
        options(resumption="both", ticket_secret_lifetime=lifetime), issuer(), ours
    )
    ours.start()
    clock.pump([0.001] * 10)
    store.seconds_to_put = 0.1
    sharing: list[Deferred[None]] = []
    for _ in range(3):
        visit = InMemory(made.ssl_context, SSL.TLS1_2_VERSION)
        visit.shake_hands()
        assert visit.state.pending_shares
        sharing += visit.state.pending_shares
        clock.advance(0.01)
    assert not any(one.called for one in sharing)
    clock.pump([0.1] * 2)
    assert all(one.called for one in sharing)
    ours._refreshing.stop()


def test_more_secrets_than_the_store_takes_do_not_keep_the_newest_out() -> None:
    clock = Clock()
    store = Memory(clock)
    secrets = TicketSecrets(3600.0, 7200.0, token_bytes)
    now = time.time()
    secrets.merge(now, [(now - age, token_bytes(32)) for age in range(3000)])
    newest = bytes(secrets.current(now).value)
    ours = group(clock, store)
    ours.use(secrets)
    ours.start()
    clock.pump([0.001] * 10)
    (value,) = store.kept.values()
    assert newest in value
    assert len(value) < LARGEST_VALUE - 1000, "there is room for the seal"
    ours._refreshing.stop()
