"""Groups in the balancer: a client comes back to a server that knows its session (patent, p. 7)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Reason, Rules, decide
from homing.balancer.table import Entry, Table
from homing.shared.candidates import Candidate, Carrier
from homing.shared.client_hello import ClientHello
from homing.shared.id_sets import IdRange
from tests.assigning import owner

PAIR = ("s1", "s2")
SERVERS = (*PAIR, "s3", "s4")
BY_ISSUER = dict.fromkeys(PAIR, PAIR)
"""`group_choice = "issuer"`: the table names the server that gave the identifier out."""
BY_POLICY = {"pair": PAIR}
"""`group_choice = "policy"`: the table names the group."""


class Asked:
    """Round robin that notes what it was offered, and for whom."""

    def __init__(self) -> None:
        self.offers: list[tuple[tuple[str, ...], str]] = []
        self._turns = RoundRobin()

    def choose(self, servers: Sequence[str], source: str) -> str:
        self.offers.append((tuple(servers), source))
        return self._turns.choose(servers, source)


def table(**owners: bytes) -> Table:
    return Table(tuple(Entry(name, IdRange.of_prefix(one)) for name, one in owners.items()))


def issuer_rules(policy: Asked | None = None) -> Rules:
    owners = table(s1=b"1", s2=b"2", s3=b"3", s4=b"4")
    return Rules(owners, policy or Asked(), groups=BY_ISSUER)


def policy_rules(policy: Asked | None = None) -> Rules:
    return Rules(table(pair=b"p", s3=b"3", s4=b"4"), policy or Asked(), groups=BY_POLICY)


def bringing(*identifiers: bytes) -> ClientHello:
    """A TLS 1.3 client with these PSK identities, then a session ID of its own invention."""
    return ClientHello(0x0303, b"\xee" * 32, identifiers, None)


class TestIssuerFirst:
    def test_the_server_that_gave_the_identifier_out_comes_first(self) -> None:
        policy = Asked()
        for identifier, server in ((b"1" * 32, "s1"), (b"2" * 32, "s2")):
            for _ in range(5):
                assert decide(issuer_rules(policy), bringing(identifier), SERVERS, "a") == Decision(
                    server, Reason.OWNER, Candidate(Carrier.PSK, identifier), server
                )
        assert policy.offers == [], "a known client uses up a turn of the policy"

    @pytest.mark.parametrize(("dead", "other"), [("s1", "s2"), ("s2", "s1")])
    def test_when_it_is_down_another_of_its_group_resumes_the_session(
        self, dead: str, other: str
    ) -> None:
        identifier = dead[1].encode() * 32
        up = [server for server in SERVERS if server != dead]
        assert decide(issuer_rules(), bringing(identifier), up, "a") == Decision(
            other, Reason.GROUP, Candidate(Carrier.PSK, identifier), dead
        )

    def test_when_the_whole_group_is_down_another_server_serves_the_client(self) -> None:
        policy = Asked()
        found = decide(issuer_rules(policy), bringing(b"1" * 32), ("s3", "s4"), "a")
        assert (found.reason, found.owner) == (Reason.OWNER_DOWN, "s1")
        assert found.server in ("s3", "s4")
        assert policy.offers == [(("s3", "s4"), "a")]


class TestByPolicy:
    def test_the_policy_shares_the_sessions_of_a_group_out_inside_it(self) -> None:
        policy = Asked()
        rules = policy_rules(policy)
        chosen = [decide(rules, bringing(b"p" * 32), SERVERS, "192.0.2.1") for _ in range(6)]
        assert {(one.reason, one.owner) for one in chosen} == {(Reason.GROUP, "pair")}
        assert sorted(one.server or "" for one in chosen) == ["s1"] * 3 + ["s2"] * 3
        assert set(policy.offers) == {(PAIR, "192.0.2.1")}

    def test_when_the_whole_group_is_down_another_server_serves_the_client(self) -> None:
        found = decide(policy_rules(), bringing(b"p" * 32), ("s3", "s4"), "a")
        assert (found.reason, found.owner) == (Reason.OWNER_DOWN, "pair")
        assert found.server in ("s3", "s4")

    def test_the_first_visit_of_a_client_is_the_whole_farms(self) -> None:
        policy = Asked()
        decide(policy_rules(policy), ClientHello(0x0303, b"", (), None), SERVERS, "a")
        assert policy.offers == [(SERVERS, "a")]


@given(
    st.sets(st.sampled_from(SERVERS)),
    st.lists(st.sampled_from([b"1", b"2", b"3", b"4", b"p", b"x"]), max_size=4),
    st.booleans(),
)
def test_whoever_is_up_and_knows_the_session_gets_the_client(
    alive: set[str], brought: list[bytes], by_policy: bool
) -> None:
    rules = policy_rules() if by_policy else issuer_rules()
    up = tuple(server for server in SERVERS if server in alive)
    found = decide(rules, bringing(*(one * 32 for one in brought)), up, "a")
    assert found.server in up if up else found.server is None
    for one in brought:
        issuer = owner(rules.table, one * 32)
        knowing = {issuer, *rules.groups.get(issuer or "", ())} & alive
        if knowing:
            assert found.server in knowing
            assert found.candidate == Candidate(Carrier.PSK, one * 32)
            assert found.reason in (Reason.OWNER, Reason.GROUP)
            break
    else:
        assert found.reason not in (Reason.OWNER, Reason.GROUP)
