"""Fig. 2: where a connection goes, and why."""

from __future__ import annotations

from itertools import product

import attrs
import pytest

from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Decision, Excluded, Reason, Rules, decide
from homing.balancer.table import Entry, Table
from homing.shared.candidates import Candidate, Carrier
from homing.shared.client_hello import ClientHello, NotClientHello
from homing.shared.id_sets import IdRange

TABLE = Table(tuple(Entry(f"s{n}", IdRange.of_prefix(str(n).encode())) for n in (1, 2, 3)))
UP = ("s1", "s2", "s3")
HTTP = NotClientHello("plain text")
UNKNOWN = b"x" * 32


class Always:
    """A policy that always wants the same server and counts how often it is asked."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.asked = 0

    def choose(self, servers: object, source: str) -> str:
        self.asked += 1
        return self.server


def rules(
    default: str | None = None, ignore_ids: bool = False, close_not_tls: bool = False
) -> Rules:
    table = attrs.evolve(TABLE, default=default)
    return Rules(table, Always("policy"), ignore_ids, close_not_tls)


def hello(
    session_id: bytes = b"", ticket: bytes | None = None, psk: tuple[bytes, ...] = ()
) -> ClientHello:
    return ClientHello(0x0303, session_id, psk, ticket)


def of(server: int, carrier: Carrier) -> Candidate:
    return Candidate(carrier, str(server).encode() * 32)


class TestOwner:
    @pytest.mark.parametrize("server", [1, 2, 3])
    @pytest.mark.parametrize("carrier", Carrier)
    def test_a_client_comes_back_to_the_server_that_knows_it(
        self, server: int, carrier: Carrier
    ) -> None:
        identifier = str(server).encode() * 32
        brought = {
            Carrier.SESSION_ID: hello(session_id=identifier),
            Carrier.TICKET: hello(UNKNOWN, ticket=identifier),
            Carrier.PSK: hello(UNKNOWN, psk=(identifier,)),
        }[carrier]
        expected = Decision(
            f"s{server}", Reason.OWNER, Candidate(carrier, identifier), f"s{server}"
        )
        assert decide(rules(), brought, UP, "a") == expected
        assert decide(rules(default="s1"), brought, UP, "a") == expected
        assert decide(rules(close_not_tls=True), brought, UP, "a") == expected

    def test_a_long_ticket_routes_by_its_key_name(self) -> None:
        for brought in (hello(ticket=b"2" * 208), hello(psk=(b"2" * 208,))):
            assert decide(rules(), brought, UP, "a").server == "s2"

    def test_psk_wins_over_ticket_over_session_id(self) -> None:
        one, two, three = b"1" * 32, b"2" * 32, b"3" * 32
        assert decide(rules(), hello(one, two, (three,)), UP, "a").server == "s3"
        assert decide(rules(), hello(one, two), UP, "a").server == "s2"
        assert decide(rules(), hello(one, b""), UP, "a").server == "s1"
        assert decide(rules(), hello(psk=(two, three)), UP, "a").server == "s2"

    def test_what_the_table_does_not_list_falls_through_to_what_it_lists(self) -> None:
        owned = b"2" * 32
        for psk, ticket in product([(), (UNKNOWN,), (UNKNOWN, b"y" * 208)], [None, b"", UNKNOWN]):
            decision = decide(rules("s1"), hello(owned, ticket, psk), UP, "a")
            assert decision == Decision("s2", Reason.OWNER, of(2, Carrier.SESSION_ID), "s2")
        decision = decide(rules(), hello(b"1" * 32, owned, (UNKNOWN,)), UP, "a")
        assert decision == Decision("s2", Reason.OWNER, of(2, Carrier.TICKET), "s2")
        decision = decide(rules(), hello(psk=(UNKNOWN, owned)), UP, "a")
        assert decision == Decision("s2", Reason.OWNER, of(2, Carrier.PSK), "s2")

    def test_a_client_whose_server_is_down_is_served_by_another(self) -> None:
        expected = Decision("policy", Reason.OWNER_DOWN, of(2, Carrier.SESSION_ID), "s2")
        assert decide(rules(), hello(b"2" * 32), ("s1", "s3"), "a") == expected
        assert decide(rules("s1"), hello(b"2" * 32), ("s1", "s3"), "a") == expected


class TestElsewhere:
    """A server that is up, but does not get this connection."""

    @pytest.mark.parametrize(
        "why", [Reason.OWNER_DOWN, Reason.OWNER_BUSY, Reason.SERVER_EXCESS], ids=str
    )
    def test_the_reason_tells_whether_the_owner_is_down_busy_or_full(self, why: Reason) -> None:
        expected = Decision("policy", why, of(2, Carrier.SESSION_ID), "s2")
        assert (
            decide(rules(), hello(b"2" * 32), UP, "a", excluded=Excluded({"s2": why})) == expected
        )

    def test_an_owner_that_is_busy_is_not_chosen_by_the_policy_either(self) -> None:
        by_turns = Rules(TABLE, RoundRobin())
        busy = {"s2": Reason.OWNER_BUSY}
        for brought in (hello(), hello(UNKNOWN), hello(b"2" * 32), HTTP):
            chosen = {
                decide(by_turns, brought, UP, "a", excluded=Excluded(busy)).server for _ in range(6)
            }
            assert chosen == {"s1", "s3"}

    def test_the_other_members_of_a_group_come_before_the_policy(self) -> None:
        pair = Rules(TABLE, RoundRobin(), groups={"s1": ("s1", "s3"), "s3": ("s1", "s3")})
        full = {"s1": Reason.SERVER_EXCESS}
        found = decide(pair, hello(b"1" * 32), UP, "a", excluded=Excluded(full))
        assert (found.server, found.reason, found.owner) == ("s3", Reason.GROUP, "s1")
        found = decide(
            pair, hello(b"1" * 32), UP, "a", excluded=Excluded({**full, "s3": Reason.OWNER_DOWN})
        )
        assert (found.server, found.reason) == ("s2", Reason.SERVER_EXCESS)

    def test_a_group_of_which_one_is_busy_and_one_down_is_busy(self) -> None:
        table = Table((Entry("pair", IdRange.of_prefix(b"p")),))
        pair = Rules(table, RoundRobin(), groups={"pair": ("s1", "s3")})
        found = decide(
            pair, hello(b"p" * 32), ("s2", "s3"), "a", excluded=Excluded({"s3": Reason.OWNER_BUSY})
        )
        assert (found.server, found.reason, found.owner) == ("s2", Reason.OWNER_BUSY, "pair")

    def test_an_identifier_that_is_not_followed_counts_for_nothing(self) -> None:
        for brought in (hello(b"2" * 32), hello(UNKNOWN)):
            found = decide(
                rules("s1"), brought, UP, "a", excluded=Excluded(identifiers=Reason.SOURCE_EXCESS)
            )
            assert found == Decision("policy", Reason.SOURCE_EXCESS)


class TestWithoutOwner:
    def test_a_first_visit_goes_where_the_policy_says(self) -> None:
        for default in (None, "s1"):
            for brought in (hello(), hello(ticket=b"")):
                decision = decide(rules(default), brought, UP, "a")
                assert decision == Decision("policy", Reason.NO_IDENTIFIER)

    def test_an_unlisted_identifier_goes_to_the_default_server(self) -> None:
        decision = decide(rules("s3"), hello(UNKNOWN, psk=(b"y",)), UP, "a")
        assert decision == Decision("s3", Reason.DEFAULT_SERVER, Candidate(Carrier.PSK, b"y"))

    @pytest.mark.parametrize("default", [None, "s3", "nobody knows it"])
    def test_without_a_default_server_that_is_up_the_policy_chooses(
        self, default: str | None
    ) -> None:
        decision = decide(rules(default), hello(UNKNOWN), ("s1", "s2"), "a")
        assert decision == Decision(
            "policy", Reason.UNLISTED, Candidate(Carrier.SESSION_ID, UNKNOWN)
        )

    def test_ignored_identifiers_route_nobody(self) -> None:
        for brought in (hello(b"2" * 32), hello(psk=(b"2" * 32,)), hello()):
            decision = decide(rules("s1", ignore_ids=True), brought, UP, "a")
            assert decision == Decision("policy", Reason.IGNORED)

    @pytest.mark.parametrize("ignore_ids", [False, True])
    def test_what_is_not_tls_is_passed_on_or_closed_as_configured(self, ignore_ids: bool) -> None:
        passed = decide(rules("s1", ignore_ids), HTTP, UP, "a")
        assert passed == Decision("policy", Reason.NOT_A_HELLO)
        closed = decide(rules("s1", ignore_ids, close_not_tls=True), HTTP, UP, "a")
        assert closed == Decision(None, Reason.REFUSED)

    def test_only_servers_that_are_up_are_offered_to_the_policy(self) -> None:
        by_turns = Rules(TABLE, RoundRobin())
        for brought in (hello(), hello(UNKNOWN), hello(b"2" * 32), HTTP):
            chosen = {decide(by_turns, brought, ("s1", "s3"), "a").server for _ in range(6)}
            assert chosen == {"s1", "s3"}

    def test_the_client_address_reaches_the_policy(self) -> None:
        class BySource:
            def choose(self, servers: object, source: str) -> str:
                return f"for {source}"

        for brought in (hello(), hello(UNKNOWN), HTTP):
            assert decide(Rules(TABLE, BySource()), brought, UP, "192.0.2.1").server == (
                "for 192.0.2.1"
            )

    def test_nobody_up_is_an_answer_not_an_error(self) -> None:
        for brought in (hello(), hello(UNKNOWN), hello(b"2" * 32), HTTP):
            for ignore_ids in (False, True):
                decision = decide(rules("s1", ignore_ids), brought, (), "a")
                assert (decision.server, decision.reason) == (None, Reason.NOBODY)
        known = decide(rules(), hello(b"2" * 32), (), "a")
        assert (known.candidate, known.owner) == (of(2, Carrier.SESSION_ID), "s2")

    def test_what_is_not_tls_is_refused_also_when_nobody_is_up(self) -> None:
        assert decide(rules(close_not_tls=True), HTTP, (), "a") == Decision(None, Reason.REFUSED)


Y = Candidate(Carrier.PSK, b"y")
S2 = of(2, Carrier.SESSION_ID)
BOTH = hello(b"2" * 32, psk=(b"y",))


class TestDraining:
    RULES = Rules(
        attrs.evolve(TABLE, default="s1"),
        RoundRobin(),
        groups={"g": ("s1", "s2"), "s1": ("s1", "s2"), "s2": ("s1", "s2")},
        draining=frozenset({"s1"}),
    )

    def test_it_gets_no_new_clients_by_policy_nor_as_the_default_server(self) -> None:
        for brought in (hello(), hello(UNKNOWN), HTTP):
            chosen = {decide(self.RULES, brought, UP, "a").server for _ in range(6)}
            assert chosen == {"s2", "s3"}

    def test_it_gets_those_whose_identifier_is_its_own(self) -> None:
        found = decide(self.RULES, hello(b"1" * 32), UP, "a")
        assert (found.server, found.reason) == ("s1", Reason.OWNER)

    def test_it_gets_those_of_its_group_while_no_other_member_is_up(self) -> None:
        table = Table((Entry("g", IdRange.of_prefix(b"g")),))
        of_group = attrs.evolve(self.RULES, table=table)
        for up, server in ((UP, "s2"), (("s1", "s3"), "s1")):
            found = decide(of_group, hello(b"g" * 32), up, "a")
            assert (found.server, found.reason) == (server, Reason.GROUP)

    def test_where_all_drain_new_clients_go_nowhere(self) -> None:
        found = decide(self.RULES, hello(), ("s1",), "a")
        assert (found.server, found.reason) == (None, Reason.NOBODY)


FOUND = (212, S2, TABLE.entries[1])


@pytest.mark.parametrize(
    ("brought", "default", "up", "steps"),
    [
        (HTTP, None, UP, [(208, HTTP), (210, "policy")]),
        (hello(), None, UP, [(208, ()), (210, "policy")]),
        (hello(b"2" * 32), None, ("s1",), [(208, (S2,)), FOUND, (210, "policy")]),
        (hello(b"2" * 32), None, (), [(208, (S2,)), FOUND, (210, None)]),
        (BOTH, "s3", UP, [(208, (Y, S2)), (212, Y, None), FOUND, (214, "s2")]),
        (hello(psk=(b"y",)), "s3", UP, [(208, (Y,)), (212, Y, None), (214, "s3")]),
    ],
)
def test_the_steps_that_led_there_are_told(
    brought: ClientHello | NotClientHello, default: str | None, up: tuple[str, ...], steps: object
) -> None:
    assert decide(rules(default), brought, up, "a").steps == steps


def test_every_reason_can_be_read_in_the_log() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason) == 19
    assert all(len(reason.value) > 10 for reason in Reason)
