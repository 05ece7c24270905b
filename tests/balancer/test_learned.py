"""Learned identifiers: clients of servers that keep to no record come back, within bounds."""

from __future__ import annotations

from collections import OrderedDict

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homing.balancer.learned import LearnedIds
from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Reason, Rules, decide
from homing.balancer.table import Entry, Table
from homing.shared.candidates import Candidate, Carrier
from homing.shared.client_hello import ClientHello
from homing.shared.id_sets import IdRange

LIMIT, LIFETIME = 4, 100.0
UP = ("s1", "s2", "other")
IDS = st.integers(0, 7).map(lambda number: bytes([number]) * 32)


def session(session_id: bytes, psk: tuple[bytes, ...] = ()) -> ClientHello:
    return ClientHello(0x0303, session_id, psk, None)


class Life(RuleBasedStateMachine):
    """Any history, against a plain model: what was seen last, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = LearnedIds(LIMIT, LIFETIME)
        self.model: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self.now = 1000.0

    @rule(seconds=st.sampled_from([0.0, 1.0, 49.0, 99.0, 100.0, 250.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(identifier=IDS, server=st.sampled_from(["a", "b"]))
    def a_server_gives_an_id_out(self, identifier: bytes, server: str) -> None:
        self.learned.learn(identifier, server, self.now)
        self.model.pop(identifier, None)
        self.model[identifier] = server, self.now
        while len(self.model) > LIMIT:
            self.model.popitem(last=False)

    @rule(identifier=IDS)
    def a_client_comes_back(self, identifier: bytes) -> None:
        server, seen = self.model.get(identifier, (None, self.now))
        expected = server if self.now - seen < LIFETIME else None
        assert self.learned.owner(identifier, self.now) == expected
        if expected is None:
            self.model.pop(identifier, None)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.learned) <= LIMIT


TestLife = Life.TestCase


class TestRouting:
    """Page 8: a list of actually assigned IDs; "only if a match is not found", the table."""

    TABLE = Table((Entry("s1", IdRange.of_prefix(b"1")), Entry("s2", IdRange.of_prefix(b"2"))))

    @pytest.fixture(name="rules")
    def rules_(self) -> Rules:
        return Rules(self.TABLE, RoundRobin(), learned=LearnedIds(LIMIT, LIFETIME))

    @staticmethod
    def learn(rules: Rules, identifier: bytes, server: str, now: float = 0.0) -> None:
        assert rules.learned is not None
        rules.learned.learn(identifier, server, now)

    def test_a_learned_identifier_that_no_entry_lists_comes_home(self, rules: Rules) -> None:
        self.learn(rules, b"x" * 32, "other")
        brought = Candidate(Carrier.SESSION_ID, b"x" * 32)
        for _ in range(3):
            assert decide(rules, session(b"x" * 32), UP, "a", 1.0) == Decision(
                "other", Reason.LEARNED, brought, "other"
            )

    def test_no_server_can_claim_what_anothers_entry_lists(self, rules: Rules) -> None:
        assert not rules.may_claim("other", b"1" * 32)
        assert rules.may_claim("s1", b"1" * 32)
        assert rules.may_claim("other", b"x" * 32)
        grouped = attrs.evolve(rules, groups={"s1": ("s1", "other")})
        assert grouped.may_claim("other", b"1" * 32)
        assert not grouped.may_claim("other", b"2" * 32)

    def test_what_a_server_was_seen_to_give_out_counts_before_the_table(self, rules: Rules) -> None:
        """In a group with one record, the one that has the session itself gets its client."""
        grouped = attrs.evolve(rules, groups={"s1": ("s1", "other")})
        self.learn(grouped, b"1" * 32, "other")
        found = decide(grouped, session(b"1" * 32), UP, "a", 1.0)
        assert (found.server, found.reason) == ("other", Reason.LEARNED)
        found = decide(grouped, session(b"1" * 32), ("s1", "s2"), "a", 1.0)
        assert (found.server, found.reason) == ("s1", Reason.OWNER)

    def test_a_key_name_stands_for_all_tickets_under_its_key(self, rules: Rules) -> None:
        names = LearnedIds(LIMIT, LIFETIME)
        names.learn(b"k" * 16, "other", 0.0)
        with_names = attrs.evolve(rules, key_names=names)
        for ticket in (b"k" * 16 + b"1" * 100, b"k" * 16 + b"2" * 200):
            found = decide(with_names, session(b"", psk=(ticket,)), UP, "a", 1.0)
            assert (found.server, found.reason) == ("other", Reason.LEARNED)

    def test_what_was_learned_too_long_ago_is_the_tables_or_the_default_servers(
        self, rules: Rules
    ) -> None:
        self.learn(rules, b"1" * 32, "other")
        self.learn(rules, b"x" * 32, "other")
        assert decide(rules, session(b"1" * 32), UP, "a", 1.0).reason is Reason.LEARNED
        with_default = attrs.evolve(rules, table=attrs.evolve(self.TABLE, default="s2"))
        late = LIFETIME + 1
        assert decide(with_default, session(b"1" * 32), UP, "a", late).reason is Reason.OWNER
        found = decide(with_default, session(b"x" * 32), UP, "a", late)
        assert (found.server, found.reason) == ("s2", Reason.DEFAULT_SERVER)

    def test_a_client_of_a_learned_server_that_is_down_is_served_by_another(
        self, rules: Rules
    ) -> None:
        self.learn(rules, b"x" * 32, "other")
        self.learn(rules, b"1" * 32, "other")
        up = ("s1", "s2")
        assert decide(rules, session(b"x" * 32), up, "a", 1.0).server in up
        assert decide(rules, session(b"1" * 32), up, "a", 1.0).server == "s1"
        back = decide(rules, session(b"x" * 32), UP, "a", 2.0)
        assert (back.server, back.reason) == ("other", Reason.LEARNED)

    def test_a_learned_session_id_counts_although_a_strange_psk_comes_with_it(
        self, rules: Rules
    ) -> None:
        self.learn(rules, b"x" * 32, "other")
        found = decide(rules, session(b"x" * 32, psk=(b"p" * 32,)), UP, "a", 1.0)
        assert (found.server, found.reason) == ("other", Reason.LEARNED)
        assert found.candidate == Candidate(Carrier.SESSION_ID, b"x" * 32)

    def test_ignored_identifiers_are_not_learned_from_either(self, rules: Rules) -> None:
        self.learn(rules, b"x" * 32, "other")
        ignoring = attrs.evolve(rules, ignore_ids=True)
        assert decide(ignoring, session(b"x" * 32), UP, "a", 1.0).reason is Reason.IGNORED
