"""What homing status says of a farm is what its registry has, and adds up."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.farm.orders import drain, remove
from homing.farm.status import status
from homing.farm.status.times import from_seconds
from homing.farm.status.values import Status
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    SPARE,
    Assignment,
    BalancerPresence,
    Exceptions,
    FarmValue,
    Live,
    Names,
    PartValue,
    Record,
    Refusal,
    ServerFacts,
    ServerPresence,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from homing.shared.moves import PartStep, Way
from homing.shared.registry.memory import MemoryRegistry
from tests.farm.managed import ManagedFarm

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def seen(farm: ManagedFarm) -> Status:
    return status(farm.view, NOW)


def view_of(*values: tuple[str, object]) -> View:
    """A view of a registry with these values."""
    registry, view = MemoryRegistry(lambda: 0.0), View()
    for key, value in values:
        registry.commit(view.change({key: value}))
    view.apply(registry.read())
    return view


def test_programs_get_what_the_contract_says() -> None:
    farm = ManagedFarm("s1", "s2", bits=2)
    farm.put(keys.assignment("s1"), Assignment("s1-1", "here", "2030-01-02T04:00:00Z"))
    farm.put(keys.balancer("balancer-1"), BalancerPresence("b1", epoch=99))
    farm.start("s2", epoch=7, sessions=120)
    for number in (0, 1, 3):
        farm.put(keys.part(number), None)
    farm.put(keys.part(2), None)
    farm.put(keys.part(0), PartValue("s1"))
    farm.put(keys.part(1), PartValue("s1", drawn=True))
    farm.put(keys.page(1, "s2", 0), Exceptions(("aa", "bb")))
    farm.put(keys.part(3), PartValue("s2", True, PartStep.LEAVING, SPARE, Way.SCHEDULED, 1e9))
    plain = json.loads(json.dumps(seen(farm).plain()))
    high = "ff" * 27
    move = {"from": "s2", "to": "spare", "how": "scheduled", "step": "leaving"}
    assert plain == {
        "epoch": 99,
        "scheme": "range",
        "manager": "balancer-1",
        "balancers": [{"name": "balancer-1", "epoch": 99, "up": True}],
        "servers": [
            {
                "name": "s1",
                "address": "unix:s1.sock",
                "up": True,
                "state": "active",
                "leaves": False,
                "epoch": 0,
                "share": 0.5,
                "sessions": 0,
                "weight": 1.0,
            },
            {
                "name": "s2",
                "address": "unix:s2.sock",
                "up": True,
                "state": "active",
                "leaves": False,
                "epoch": 7,
                "share": 0.25,
                "sessions": 120,
                "weight": 1.0,
            },
        ],
        "spare": 0.25,
        "parts": [
            {
                "set": {"range": ["484f4d45" + "00" * 28, "484f4d457f" + high]},
                "owner": "s1",
                "state": "held",
                "next": None,
                "expires": "2030-01-02T04:00:00Z",
                "exceptions": 2,
            },
            {
                "set": {"range": ["484f4d45c0" + "00" * 27, "484f4d45ff" + high]},
                "owner": "s2",
                "state": "leaving",
                "next": "spare",
                "expires": None,
                "exceptions": 0,
            },
        ],
        "moves": [
            {
                "part": 3,
                "set": {"range": ["484f4d45c0" + "00" * 27, "484f4d45ff" + high]},
                **move,
                "at": "2001-09-09T01:46:40Z",
                "waits_for": "its time, or the end of sessions at s2",
                "until": None,
                "note": "",
            }
        ],
        "refusals": [],
    }


def test_four_servers_have_a_fifth_each_and_a_fifth_is_spare() -> None:
    found = seen(ManagedFarm("s1", "s2", "s3", "s4"))
    assert [round(one.share, 2) for one in found.servers] == [0.2] * 4
    assert round(found.spare, 2) == 0.2
    assert len(found.parts) < 20  # neighbours are one set


OWNERS = st.sampled_from(["s1", "s2", "s3", "gone"])
PARTS = st.builds(
    PartValue,
    OWNERS,
    drawn=st.booleans(),
    step=st.sampled_from(PartStep),
    next=st.none() | OWNERS | st.just(SPARE),
    how=st.sampled_from(Way),
    at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(
    st.dictionaries(st.integers(0, 15), PARTS),
    st.sampled_from(["range", "bits", "list"]),
    st.lists(st.sampled_from(["s1", "s2", "s3"]), unique=True),
)
def test_shares_and_the_spare_part_are_the_whole_and_no_part_is_left_out(
    parts: dict[int, PartValue], scheme: str, wished: list[str]
) -> None:
    wishes = [(keys.wish(one), Wish(ServerFacts(f"unix:{one}.sock", group="g"))) for one in wished]
    values = [(keys.part(number), part) for number, part in parts.items()]
    view = view_of((keys.FARM, FarmValue(scheme, "484f4d45", 4)), *wishes, *values)
    found = status(view, NOW)
    assert sum(one.share for one in found.servers) + found.spare == pytest.approx(1)
    assert {one.owner for one in found.parts} == {part.owner for part in parts.values()}
    moving = [number for number, part in sorted(parts.items()) if part.next is not None]
    assert [one.part for one in found.moves] == moving
    json.dumps(found.plain(), allow_nan=False)


def test_parts_in_different_states_are_not_one() -> None:
    farm = ManagedFarm("s1", bits=2)
    farm.draw(1)
    farm.put(keys.part(1), attrs.evolve(farm.view.parts[1].value, step=PartStep.STOPPED, next=""))
    assert [(one.state, one.next) for one in seen(farm).parts] == [
        ("held", None),
        ("stopped", "spare"),
        ("held", None),
    ]


def test_patterns_of_bits_are_listed_singly() -> None:
    found = seen(ManagedFarm("s1", scheme="bits", bits=2))
    assert [list(one.set) for one in found.parts] == [["mask", "value"]] * 3


def test_the_parts_of_a_group_count_for_its_members() -> None:
    wishes = [
        (keys.wish(one), Wish(ServerFacts(f"unix:{one}.sock", group="g"))) for one in ("a", "b")
    ]
    farm = (keys.FARM, FarmValue("range", "484f4d45", 0))
    found = status(view_of(farm, *wishes, (keys.part(0), PartValue("g"))), NOW)
    assert [(one.name, one.share) for one in found.servers] == [("a", 0.5), ("b", 0.5)]


def test_the_servers_of_a_function_share_all_evenly() -> None:
    found = seen(ManagedFarm("s1", "s2", scheme="hash"))
    assert [one.share for one in found.servers] == [0.5, 0.5]
    assert (found.spare, found.parts) == (0.0, [])


def test_a_function_that_knows_nobody_yet_is_no_fault() -> None:
    view = view_of((keys.FARM, FarmValue("hash")), (keys.NAMES, Names(())))
    assert status(view, NOW).spare == 0.0


def test_a_farm_of_an_unknown_scheme_is_shown_as_far_as_it_is_understood() -> None:
    view = view_of((keys.FARM, FarmValue("newer", "48", 4)), (keys.part(0), PartValue("s1")))
    assert (status(view, NOW).scheme, status(view, NOW).parts) == ("newer", [])


def test_an_empty_registry_is_an_empty_farm() -> None:
    found = status(View(), NOW)
    assert (found.scheme, found.manager, found.servers, found.spare) == (None, None, [], 0.0)


def test_a_draining_server_is_drained_when_it_has_nothing_any_more() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.ask(drain(farm.view, "s2"))
    assert seen(farm).servers[1].state == "draining"
    farm.step()
    assert seen(farm).servers[1].state == "drained"


def test_a_server_that_is_removed_is_shown_until_it_is_gone() -> None:
    farm = ManagedFarm("s1", "s2")
    wish = attrs.evolve(farm.view.wishes["s2"].value, source="farm.toml")
    farm.put(keys.wish("s2"), wish)
    farm.ask(remove(farm.view, "s2"))
    assert seen(farm).servers[1].leaves
    farm.step()
    farm.stop("s2")
    farm.step()
    assert "s2" in farm.view.wishes  # a mark for farm.toml
    assert [one.name for one in seen(farm).servers] == ["s1"]


def test_a_server_that_is_not_ours_is_neither_up_nor_down() -> None:
    facts = ServerFacts("tcp:10.0.0.6:8443", managed=False, ids=(IdRange.of_prefix(b"SRV"),))
    farm = ManagedFarm("s1")
    farm.put(keys.wish("legacy"), Wish(facts))
    farm.step()
    found = seen(farm)
    assert (found.servers[0].up, found.servers[0].share) == (None, 0.0)
    assert (found.parts[-1].owner, found.parts[-1].state) == ("legacy", "own")


def test_a_server_that_nobody_wished_for_is_new_and_a_refusal_says_why() -> None:
    there = ServerPresence(ServerFacts("unix:s9.sock"), "1")
    view = view_of((keys.server("s9"), there), (keys.refusal("s9"), Refusal("1", "it overlaps")))
    found = status(view, NOW)
    assert (found.servers[0].state, found.servers[0].up) == ("new", True)
    assert [(one.server, one.why) for one in found.refusals] == [("s9", "it overlaps")]


def test_own_records_are_shown() -> None:
    view = view_of((keys.record("s1"), Record((IdRange.of_prefix(b"S"), IdRange.of_prefix(b"T")))))
    assert len(status(view, NOW).parts) == 2


@pytest.mark.parametrize(
    ("how", "step", "words", "until"),
    [
        (Way.DRAIN, PartStep.LEAVING, "s1, to draw from it no more", None),
        (Way.DRAIN, PartStep.STOPPED, "12 sessions at s1 to end", "2030-01-02T03:05:35Z"),
        (Way.EXCEPTIONS, PartStep.LISTED, "the manager, to give it to s2", None),
        (Way.DRAIN, PartStep.RELEASED, "the manager, to give it to s2", None),
        (Way.SCHEDULED, PartStep.STOPPED, "its time, or the end of 12 sessions at s1", None),
    ],
)
def test_a_move_says_what_it_waits_for_and_until_when(
    how: Way, step: PartStep, words: str, until: str | None
) -> None:
    there = ServerPresence(ServerFacts("unix:s1.sock"), "1", live=(Live(3, 12, 90.0),))
    view = view_of(
        (keys.FARM, FarmValue("range", "484f4d45", 4)),
        (keys.server("s1"), there),
        (keys.part(3), PartValue("s1", True, step, "s2", how)),
    )
    (move,) = status(view, NOW).moves
    assert (move.waits_for, move.until) == (words, until)


def test_a_move_of_a_server_that_is_down_says_so() -> None:
    view = view_of(
        (keys.FARM, FarmValue("range", "484f4d45", 4)),
        (keys.part(3), PartValue("s1", True, PartStep.STOPPED, "s2", Way.DRAIN)),
    )
    (move,) = status(view, NOW).moves
    assert move.waits_for == "s1, which is down: its assignment and its sessions must end"


def test_no_clock_is_too_wrong_to_be_shown() -> None:
    for seconds in (-1e300, 1e300, float("inf")):
        assert from_seconds(seconds).year in (1970, 9999)
