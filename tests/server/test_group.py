"""A hello does not wait long for the group, and the group learns of clients' sessions only."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from server.context import server_context
from server.group import Group
from server.issuer import Issuer, Watch
from server.openssl import session_reused, session_ticket
from server.self_test import prove
from shared.identifiers import KEY_NAME_LENGTH, LENGTH, Candidate, Carrier
from tests.tls import RECORD, InMemory, options


class Memory:
    """A store whose every answer takes `seconds`."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.asked: list[bytes] = []
        self.kept: dict[bytes, bytes] = {}
        self._clock = clock
        self.seconds = seconds

    async def get(self, name: bytes) -> bytes | None:
        self.asked.append(name)
        waiting: Deferred[None] = Deferred()
        self._clock.callLater(self.seconds, waiting.callback, None)
        await waiting
        return self.kept.get(name)

    async def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        self.kept[name] = value

    async def close(self) -> None:
        """Nothing to let go."""


def brought(count: int) -> list[Candidate]:
    """What a hello with so many PSKs of ours brings."""
    names = [b"HOME" + bytes([number]) * (LENGTH - 4) for number in range(count)]
    return [Candidate(Carrier.PSK, name, name) for name in names]


def group(clock: Clock, store: Memory, name: str = "s1") -> Group:
    return Group(clock, store, [RECORD], 7200.0, name, ["s1", "s2", "s3"])


def test_a_hello_full_of_identifiers_asks_the_store_a_few_times_at_most() -> None:
    clock = Clock()
    store = Memory(clock)
    ours = group(clock, store)
    Deferred.fromCoroutine(ours.fetch(Watch(), ours.wanted(brought(17))))
    for _ in range(50):
        clock.advance(0.001)
    assert 1 <= len(store.asked) <= 4


def test_a_slow_store_holds_a_hello_for_two_operations_at_most() -> None:
    clock = Clock()
    store = Memory(clock, 0.24)
    ours = group(clock, store)
    done: list[None] = []
    Deferred.fromCoroutine(ours.fetch(Watch(), ours.wanted(brought(4)))).addCallback(done.append)
    clock.pump([0.01] * 49)
    assert done == [None]


def test_the_first_session_that_is_found_is_enough() -> None:
    clock = Clock()
    store = Memory(clock)
    giver = group(clock, store)
    sessions = server_context(options(), Issuer(RECORD), giver)
    client = InMemory(sessions.context, SSL.TLS1_2_VERSION).shake_hands()
    name = next(iter(store.kept))
    taker = group(clock, store)
    sessions = server_context(options(), Issuer(RECORD), taker)
    known = Candidate(Carrier.SESSION_ID, name[-LENGTH:], name[-LENGTH:])
    back = InMemory(sessions.context, SSL.TLS1_2_VERSION, client.resumable())
    watch = sessions.issuer.watch(back.server)
    Deferred.fromCoroutine(taker.fetch(watch, [known, *brought(3)]))
    clock.pump([0.001] * 10)
    assert store.asked == [name]
    assert session_reused(back.shake_hands().server._ssl)
    assert watch.accepted == name[-LENGTH:]


def test_the_self_tests_own_sessions_are_nobody_elses() -> None:
    clock = Clock()
    store = Memory(clock)
    ours = group(clock, store)
    prove(server_context(options(), Issuer(RECORD), ours))
    assert store.kept == {}


def test_a_hello_waits_for_the_exchange_of_secrets_that_is_under_way() -> None:
    """The first client after a restart may come before the secrets do."""
    clock = Clock()
    store = Memory(clock)
    before, after = group(clock, store), group(clock, store)
    old = server_context(options(resumption="both"), Issuer(RECORD), before)
    before.start()
    clock.pump([0.001] * 10)
    client = InMemory(old.context, SSL.TLS1_3_VERSION).shake_hands()
    ticket = session_ticket(client.client)
    known = Candidate(Carrier.PSK, ticket[:KEY_NAME_LENGTH], ticket)

    store.seconds = 0.2
    new = server_context(options(resumption="both"), Issuer(RECORD), after)
    after.start()
    clock.advance(0.001)
    done: list[None] = []
    for _ in range(3):
        fetching = Deferred.fromCoroutine(after.fetch(Watch(), after.wanted([known])))
        fetching.addCallback(done.append)
    assert done == []
    clock.pump([0.01] * 49)
    assert done == [None] * 3
    assert session_reused(
        InMemory(new.context, SSL.TLS1_3_VERSION, client.resumable()).shake_hands().server._ssl
    )
    for one in (before, after):
        one._refreshing.stop()
