"""A hello does not wait long for the group, and the group learns of clients' sessions only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from secrets import token_bytes
from typing import Any

import pytest
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

    def __init__(self, clock: Clock) -> None:
        self.asked: list[bytes] = []
        self.kept: dict[bytes, bytes] = {}
        self._clock = clock
        self.seconds = 0.0
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


class Members:
    """Servers of a group: their clock, and their store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Memory(self.clock)
        self.groups: list[Group] = []

    def group(self, name: str = "s1") -> Group:
        """What one member shares."""
        members = ["s1", "s2", "s3"]
        made = Group(
            self.clock, self.store, [RECORD], session_lifetime=7200.0, name=name, members=members
        )
        self.groups.append(made)
        return made

    def start(self, name: str = "s1", **tls: Any) -> tuple[Group, ServerContext]:
        """A server that makes tickets, and begins to share its secrets."""
        ours = self.group(name)
        context = server_context(options(resumption="both", **tls), issuer(), ours)
        ours.start()
        return ours, context

    def passes(self, seconds: float) -> None:
        """Time does."""
        self.clock.pump([0.001] * round(1000 * seconds))

    def fetch(self, ours: Group, brought: list[Candidate]) -> Deferred[None]:
        """Fires when a hello that brings this waits no longer."""
        return Deferred.fromCoroutine(ours.fetch(ConnectionState(), ours.wanted(brought)))

    def back(self, one: tuple[Group, ServerContext], client: InMemory) -> bool:
        """Whether a client resumes with its ticket at a server that looks for the secret first."""
        self.fetch(one[0], [ticket(client)])
        self.passes(0.6)
        return session_reused(visit(one[1], client.resumable()).server)


@pytest.fixture
def servers() -> Iterator[Members]:
    """A group that nobody has joined yet."""
    made = Members()
    yield made
    for one in made.groups:
        Deferred.fromCoroutine(one.stop())


def visit(
    context: ServerContext, session: SSL.Session | None = None, version: int = SSL.TLS1_3_VERSION
) -> InMemory:
    """A client after its handshake."""
    return InMemory(context.ssl_context, version, session).shake_hands()


def ticket(client: InMemory) -> Candidate:
    """What the client comes back with."""
    whole = session_ticket(client.client)
    return Candidate(Carrier.PSK, whole[:KEY_NAME_LENGTH], whole)


def forged(count: int) -> list[Candidate]:
    """What a hello with so many tickets brings that nobody made."""
    return [Candidate(Carrier.PSK, one.identifier[:16], bytes(90)) for one in brought(count)]


def test_a_hello_full_of_identifiers_asks_the_store_a_few_times_at_most(servers: Members) -> None:
    servers.fetch(servers.group(), brought(17))
    servers.passes(0.05)
    assert 1 <= len(servers.store.asked) <= 4


def test_a_slow_store_holds_a_hello_for_two_operations_at_most(servers: Members) -> None:
    servers.store.seconds = 0.24
    fetching = servers.fetch(servers.group(), brought(4))
    servers.passes(0.49)
    assert fetching.called


def test_the_first_session_that_is_found_is_enough(servers: Members) -> None:
    client = visit(server_context(options(), issuer(), servers.group()), version=SSL.TLS1_2_VERSION)
    name = next(iter(servers.store.kept))
    taker = servers.group()
    context = server_context(options(), issuer(), taker)
    known = Candidate(Carrier.SESSION_ID, name[-LENGTH:], name[-LENGTH:])
    back = InMemory(context.ssl_context, SSL.TLS1_2_VERSION, client.resumable())
    Deferred.fromCoroutine(taker.fetch(back.state, [known, *brought(3)]))
    servers.passes(0.01)
    assert servers.store.asked == [name]
    assert session_reused(back.shake_hands().server)
    assert back.state.accepted == name[-LENGTH:]


def test_the_self_tests_own_sessions_are_nobody_elses(servers: Members) -> None:
    run_self_test(server_context(options(), issuer(), servers.group()))
    assert servers.store.kept == {}


def test_a_hello_waits_for_the_exchange_of_secrets_that_is_under_way(servers: Members) -> None:
    """The first client after a restart may come before the secrets do."""
    _, old = servers.start()
    servers.passes(0.01)
    client = visit(old)
    servers.store.seconds = 0.2
    after, new = servers.start()
    servers.passes(0.001)
    fetching = [servers.fetch(after, [ticket(client)]) for _ in range(3)]
    assert not any(one.called for one in fetching)
    servers.passes(0.49)
    assert all(one.called for one in fetching)
    assert session_reused(visit(new, client.resumable()).server)


def test_servers_that_start_at_the_same_moment_lose_no_secret(servers: Members) -> None:
    servers.store.seconds = 0.01
    members = [servers.start(name) for name in ("s1", "s2", "s3")]
    servers.passes(0.03)
    for here in members:
        for there in members:
            assert servers.back(there, visit(here[1]))


def test_a_server_that_starts_has_shared_its_secret_before_it_says_so(servers: Members) -> None:
    servers.store.seconds = 0.1
    ours = servers.group()
    server_context(options(resumption="both"), issuer(), ours)
    started: list[int] = []
    ours.start().addCallback(lambda _: started.append(len(servers.store.kept)))
    assert started == []
    servers.passes(0.15)
    assert started == [1]


def test_a_member_finds_its_own_secrets_after_a_restart(servers: Members) -> None:
    before, context = servers.start()
    servers.passes(0.01)
    client = visit(context)
    Deferred.fromCoroutine(before.stop())
    after = servers.start()
    servers.passes(0.01)
    servers.store.kept.clear()
    assert servers.back(after, client)


def test_what_lies_in_the_store_and_is_no_secret_hides_no_others(servers: Members) -> None:
    _, context = servers.start("s1")
    servers.passes(0.01)
    client = visit(context)
    servers.store.kept[b"ticket secrets\0s3"] = b"junk"
    there = servers.start("s2")
    servers.passes(0.01)
    assert servers.back(there, client)


def test_tickets_that_nobody_made_ask_the_store_at_a_bounded_rate(servers: Members) -> None:
    servers.store.seconds = 0.01
    ours, _ = servers.start()
    servers.passes(0.1)
    servers.store.asked.clear()
    fetching: list[Deferred[None]] = []
    for _ in range(100):
        fetching += [servers.fetch(ours, forged(4)) for _ in range(20)]
        servers.passes(0.01)
    servers.passes(0.1)
    assert all(one.called for one in fetching), "none waits for ever"
    assert len(servers.store.asked) <= 23 * 3, "one look in 50 ms, at the values of three members"


def test_a_clock_that_was_put_back_holds_no_hello(servers: Members) -> None:
    ours, _ = servers.start()
    servers.passes(0.01)
    servers.clock.rightNow -= 3600.0
    fetching = servers.fetch(ours, forged(1))
    servers.passes(0.1)
    assert fetching.called


def test_a_ticket_waits_for_its_secret_and_no_longer(servers: Members) -> None:
    _, context = servers.start(ticket_secret_lifetime=1e-9)  # a secret for each ticket
    servers.passes(0.01)
    servers.store.seconds_to_put = 0.1
    sharing: list[Deferred[None]] = []
    for _ in range(3):
        pending = visit(context, version=SSL.TLS1_2_VERSION).state.pending_shares
        assert pending
        sharing += pending
        servers.passes(0.01)
    assert not any(one.called for one in sharing)
    servers.passes(0.2)
    assert all(one.called for one in sharing)


def test_more_secrets_than_the_store_takes_do_not_keep_the_newest_out(servers: Members) -> None:
    secrets, now = TicketSecrets(3600.0, 7200.0, token_bytes), time.time()
    secrets.merge(now, [(now - age, token_bytes(32)) for age in range(3000)])
    newest = bytes(secrets.current(now).value)
    ours = servers.group()
    ours.use(secrets)
    ours.start()
    servers.passes(0.01)
    (value,) = servers.store.kept.values()
    assert newest in value
    assert len(value) < LARGEST_VALUE - 1000, "there is room for the seal"
