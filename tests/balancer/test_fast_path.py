"""A usual client gets what Fig. 2 says, by the short way as by the long one."""

from __future__ import annotations

from contextlib import ExitStack

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.link import MOST_UNANSWERED
from homing.balancer.learned import LearnedIds
from homing.balancer.policies import Policy, RoundRobin, SourceHash
from homing.balancer.routing import Reason, Rules, decide, decide_usual
from homing.balancer.table import Entry, Table
from homing.shared.candidates import candidates
from homing.shared.client_hello import ClientHello
from homing.shared.id_sets import IdList
from tests.balancer.running import (
    HELLO,
    One,
    Two,
    closes_within,
    connect,
    counted,
    is_served,
    waits,
)
from tests.balancer.test_dispatch import RETURNS
from tests.reactor import eventually
from tests.sample_hellos import large_hello

NAMES = ("s1", "s2", "s3")
KNOWN = [bytes([n]) * 32 for n in range(6)]
names = st.sampled_from(NAMES)
identifiers = st.sampled_from(KNOWN)
hellos = st.builds(
    ClientHello,
    st.just(0x0303),
    st.just(b"") | identifiers,
    st.lists(identifiers | identifiers.map(lambda one: one[:16] * 5), max_size=3).map(tuple),
    st.none() | st.just(b"") | identifiers,
)
choosing: list[type[RoundRobin] | type[SourceHash]] = [RoundRobin, SourceHash]


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    """Rules of any kind; nothing in them has been used."""
    owners = draw(st.dictionaries(identifiers, st.sampled_from((*NAMES, "group")), max_size=4))
    entries = tuple(Entry(owner, IdList([one])) for one, owner in owners.items())
    learned, key_names = draw(learning()), draw(learning())
    return Rules(
        Table(entries, default=draw(st.none() | names)),
        draw(st.sampled_from(choosing))(draw(st.just({}) | st.just({"s1": 3.0}))),
        ignore_ids=draw(st.integers(0, 5)) == 0,
        groups={"group": draw(st.just(()) | st.just(("s2", "s3")))},
        learned=learned,
        key_names=key_names,
        draining=frozenset(draw(st.just([]) | st.lists(names))),
    )


@st.composite
def learning(draw: st.DrawFn) -> LearnedIds | None:
    """Nothing, or identifiers of which some have been seen too long ago at time 100."""
    if draw(st.booleans()):
        return None
    found = LearnedIds(10, 50.0)
    for one, (owner, at) in draw(
        st.dictionaries(identifiers, st.tuples(names, st.sampled_from((10.0, 90.0))), max_size=2)
    ).items():
        found.learn(one, owner, at)
    return found


def fresh(policy: Policy) -> Policy:
    """The same policy as before its first choice."""
    assert isinstance(policy, RoundRobin | SourceHash)
    return type(policy)(policy.weights)


@given(all_rules(), hellos, st.lists(names, unique=True).map(tuple))
def test_both_ways_lead_to_one_server_for_one_reason(
    rules: Rules, hello: ClientHello, up: tuple[str, ...]
) -> None:
    brought = [(one.carrier, one.identifier) for one in candidates(hello)]
    by_hand = attrs.evolve(rules, policy=fresh(rules.policy))
    found = decide_usual(rules, brought, up, "192.0.2.1", 100.0)
    decision = decide(by_hand, hello, up, "192.0.2.1", 100.0)
    if found is None:
        assert rules.policy == fresh(rules.policy), "its turn is lost"
        return
    by = decision.candidate and (decision.candidate.carrier, decision.candidate.identifier)
    assert found == (decision.server, decision.reason, by)
    assert rules.policy == by_hand.policy


@pytest.mark.parametrize("hello", [HELLO, RETURNS, large_hello()])
def test_a_usual_client_does_not_go_the_long_way(
    two: Two, monkeypatch: pytest.MonkeyPatch, hello: bytes
) -> None:
    balancer, address, one, _ = two

    def receive(client: ClientConnection) -> None:
        raise AssertionError("the long way")

    monkeypatch.setattr(balancer.dispatch, "receive", receive)
    with connect(address, hello) as client:
        assert one.serve() == hello
        assert client.recv(100) == b"served"


@pytest.mark.defect
def test_one_that_cannot_be_brought_is_closed_and_hinders_nobody(
    one: One, monkeypatch: pytest.MonkeyPatch
) -> None:
    balancer, address, server = one
    plane = balancer.planes["s1"]

    def take(client: ClientConnection) -> bool:
        monkeypatch.undo()
        raise RuntimeError("broken")

    monkeypatch.setattr(plane, "take", take)
    with connect(address, HELLO) as client:
        closes_within(client, 5)
        is_served(address, server)


def test_one_that_is_brought_and_given_back_counts_once_against_the_limits(two: Two) -> None:
    balancer, address, full, other = two
    limit = balancer.dispatch._servers
    with connect(address, RETURNS):
        full.refuse()
        assert other.serve() == RETURNS
    counted(balancer, "s2", Reason.OWNER_BUSY, 1)
    assert 0.9 < limit._all.count <= 1


def test_who_comes_later_does_not_overtake_those_who_wait(two: Two) -> None:
    balancer, address, busy, _ = two
    with ExitStack() as stack:
        for _ in range(MOST_UNANSWERED):
            stack.enter_context(connect(address, RETURNS))
        counted(balancer, "s1", Reason.OWNER, MOST_UNANSWERED)
        early = stack.enter_context(connect(address, RETURNS))
        waits(balancer, 1)
        late = stack.enter_context(connect(address, RETURNS))
        waits(balancer, 2)
        for _ in range(MOST_UNANSWERED):
            busy.serve()
        eventually(lambda: busy.is_asked(0), "those who waited are brought")
        for client in (early, late):
            connection = busy.take()
            stack.enter_context(connection)
            assert connection.getpeername() == client.getsockname()
