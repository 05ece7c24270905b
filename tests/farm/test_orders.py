"""What people ask of a running farm is written as they meant it, and done when it says so."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from homing.farm import orders
from homing.farm.orders import Order, Size
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    Assignment,
    Exceptions,
    Refusal,
    ServerFacts,
    ServerPresence,
    ServerState,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from homing.shared.moves import PartEvent, Way
from tests.farm.managed import ManagedFarm

TENTH = Size(Fraction(1, 10))
DONE = (0, "")


def test_a_server_that_is_added_is_waited_for_until_it_is_up_and_its_record_follows() -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(orders.add(farm.view, "s3"))
    farm.step()
    assert look() == (1, "s3 is not up yet")
    farm.start("s3")
    left, words = look()
    assert (left, words[:29]) == (1, "the record of s3 follows 0 of")
    farm.follow()
    assert look() == DONE
    wish = farm.view.wishes["s3"].value
    assert (wish.facts.address, wish.weight) == ("unix:s3.sock", 1.0)
    assert len(farm.view.owned["s3"]) > 0


def test_an_added_server_without_identifiers_is_not_done() -> None:
    farm = ManagedFarm("s1", managed=False)
    look = farm.ask(orders.add(farm.view, "s2"))
    farm.start("s2")
    assert look() == (1, "s2 has no identifiers yet")


def test_an_added_server_has_the_address_share_and_weight_that_were_asked_for() -> None:
    farm = ManagedFarm("s1")
    asked = orders.add(farm.view, "s2", "tcp:10.0.0.9:8443", TENTH, 2.0, Way.DRAIN)
    look = farm.ask(asked)
    farm.step()
    farm.start("s2")
    farm.follow()
    assert look() == DONE
    wish = farm.view.wishes["s2"].value
    assert (wish.facts.address, wish.share, wish.weight) == ("tcp:10.0.0.9:8443", 0.1, 2.0)
    assert (wish.how, wish.source) == (Way.DRAIN, "command")
    assert len(farm.view.owned["s2"]) == 82  # of 819 that are not spare


def test_a_drain_is_done_when_nothing_is_owned_and_no_exception_nor_session_is_left() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.draw(min(farm.view.owned["s1"]))
    look = farm.ask(orders.drain(farm.view, "s1"))
    farm.step()
    assert look() == (1, "s1 owns 1 part")
    page = keys.page(min(farm.view.owned["s1"]), "s1", 0)
    farm.put(page, Exceptions(("aa", "bb")))
    farm.happens(PartEvent.LISTED)
    farm.step()
    assert look() == (2, "2 identifiers of s1 still live, for 120 minutes at most")
    farm.put(page, None)
    farm.start("s1", sessions=3)
    assert look() == (3, "3 sessions still live at s1, for 120 minutes at most")
    farm.start("s1")
    assert look() == DONE
    assert farm.view.wishes["s1"].value.state is ServerState.DRAINING


def test_a_drain_waits_for_the_assignment_of_a_server_that_is_down_and_does_not_fail() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.put(keys.assignment("s1"), Assignment("s1-1", "here"))
    look = farm.ask(orders.drain(farm.view, "s1"))
    farm.stop("s1")
    farm.step()
    assert look() == (1, "s1 is down; what it was assigned is not over yet")
    farm.put(keys.assignment("s1"), None)
    farm.step()
    assert look() == DONE


def test_a_removal_is_done_when_the_server_is_gone_and_forgotten() -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(orders.remove(farm.view, "s2"))
    assert look()[1].startswith("s2 owns")
    farm.step()
    assert look() == (1, "s2 is drained, but still up: it can be stopped")
    farm.stop("s2")
    assert look() == (1, "s2 is down; the manager removes it")
    farm.step()
    assert look() == DONE
    assert "s2" not in farm.view.wishes


def test_a_removal_of_a_server_of_farm_toml_leaves_a_mark_and_is_done() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.put(keys.wish("s2"), Wish(ServerFacts("unix:s2.sock"), source="farm.toml", digest="d"))
    look = farm.ask(orders.remove(farm.view, "s2"))
    farm.step()
    farm.stop("s2")
    farm.step()
    assert look() == DONE
    wish = farm.view.wishes["s2"].value
    assert (wish.state, wish.source, wish.digest) == (ServerState.GONE, "farm.toml", "d")


@pytest.mark.parametrize("leave", [orders.drain, orders.remove])
def test_a_server_that_leaves_can_be_taken_back(leave: orders.Leaving) -> None:
    farm = ManagedFarm("s1", "s2")
    farm.ask(leave(farm.view, "s2", Way.DRAIN))
    look = farm.ask(orders.add(farm.view, "s2"))
    farm.step()
    farm.follow()
    assert look() == DONE
    assert farm.view.wishes["s2"].value.state is ServerState.ACTIVE


@pytest.mark.parametrize("leave", [orders.drain, orders.remove])
def test_a_server_that_somebody_takes_back_is_not_waited_for(leave: orders.Leaving) -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(leave(farm.view, "s2", None))
    farm.ask(orders.add(farm.view, "s2"))
    with pytest.raises(HomingError, match="s2 stays in the farm: somebody has added it again"):
        look()


def test_a_server_is_not_added_at_the_address_of_another() -> None:
    farm = ManagedFarm("s1")
    with pytest.raises(HomingError, match=r"unix:s1\.sock is the address of s1: choose another"):
        orders.add(farm.view, "s2", "unix:s1.sock")


def test_a_drain_of_a_server_that_is_being_removed_does_not_keep_it() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.ask(orders.remove(farm.view, "s2", None))
    farm.ask(orders.drain(farm.view, "s2", None))
    assert farm.view.wishes["s2"].value.state is ServerState.REMOVED


def test_a_resize_is_done_when_the_server_has_its_share_and_nothing_moves() -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(orders.resize(farm.view, "s1", TENTH))
    left, words = look()
    assert left > 300
    assert words.endswith("and is to have 82")
    farm.draw(min(farm.view.owned["s1"]))
    farm.step()
    assert look() == DONE
    assert len(farm.view.owned["s1"]) == 82


def test_a_resize_waits_for_parts_on_their_way() -> None:
    farm = ManagedFarm("s1", "s2", bits=3)
    for number in tuple(farm.view.parts):
        farm.draw(number)
    look = farm.ask(orders.resize(farm.view, "s1", Size(Fraction(1, 3)), Way.DRAIN))
    farm.step()
    (moving,) = (one for one, known in farm.view.parts.items() if known.value.next is not None)
    left, words = look()
    assert (left, words) == (1, "1 part on the way")
    farm.happens(PartEvent.STOPPED)
    farm.happens(PartEvent.OVER)
    farm.step()
    assert look() == DONE
    assert farm.view.parts[moving].value.owner == "s2"


def test_a_number_of_ids_is_what_the_server_may_draw() -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(orders.resize(farm.view, "s1", Size(max_ids=1000)))
    farm.step()
    assert look() == DONE
    (number,) = farm.view.owned["s1"]
    assert farm.view.parts[number].value.max_ids == 1000


def test_to_even_the_farm_is_done_when_the_manager_has_done_it() -> None:
    farm = ManagedFarm("s1", "s2")
    look = farm.ask(orders.reassign(farm.view, Way.DRAIN))
    assert look() == (1, "the manager evens the farm")
    farm.step()
    assert look() == DONE


def test_a_scheduled_evening_has_its_time() -> None:
    order = orders.reassign(ManagedFarm("s1").view, Way.SCHEDULED, 12.0)
    (asked,) = order.changes.values()
    assert (asked.how, asked.at) == (Way.SCHEDULED, 12.0)  # type: ignore[attr-defined]


def test_who_is_refused_is_told_why() -> None:
    farm = ManagedFarm("s1")
    look = farm.ask(orders.add(farm.view, "s2"))
    farm.put(keys.refusal("s2"), Refusal("", 'the ids of "s2" and "s1" overlap: 53'))
    with pytest.raises(HomingError, match='s2 is refused: the ids of "s2" and "s1" overlap: 53'):
        look()


def test_a_server_that_somebody_removes_meanwhile_is_not_waited_for() -> None:
    farm = ManagedFarm("s1")
    look = farm.ask(orders.add(farm.view, "s2"))
    farm.put(keys.wish("s2"), None)
    with pytest.raises(HomingError, match="s2 is no longer of the farm: somebody has removed it"):
        look()


def test_a_server_of_a_scheme_by_function_is_done_when_it_has_a_name() -> None:
    farm = ManagedFarm("s1", scheme="hash")
    look = farm.ask(orders.add(farm.view, "s2"))
    farm.start("s2")
    assert look() == (1, "s2 has no identifiers yet")
    farm.step()
    assert look() == DONE


def _with_own_ids(farm: ManagedFarm) -> View:
    ids = (IdRange.of_prefix(b"SRV"),)
    facts = ServerFacts("tcp:10.0.0.6:8443", managed=False, ids=ids)
    farm.put(keys.wish("legacy"), Wish(facts))
    farm.step()
    return farm.view


def test_a_server_with_ids_of_its_own_is_done_when_they_are_accepted() -> None:
    farm = ManagedFarm("s1")
    ids = (IdRange.of_prefix(b"SRV"),)
    look = farm.ask(orders.add(farm.view, "s2"))
    facts = ServerFacts("unix:s2.sock", ids=ids)
    farm.put(keys.wish("s2"), Wish(facts))
    farm.put(keys.server("s2"), ServerPresence(facts, "1"))
    assert look() == (1, "the identifiers of s2 are looked at")
    farm.step()
    assert look() == DONE


def test_a_server_that_is_not_ours_need_not_say_that_it_is_up() -> None:
    farm = ManagedFarm("s1")
    _with_own_ids(farm)
    farm.ask(orders.remove(farm.view, "legacy"))
    assert farm.ask(orders.add(farm.view, "legacy"))() == DONE


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (lambda view: orders.add(view, "s1"), "s1 is a server of the farm already, at unix:s1.so"),
        (lambda view: orders.drain(view, "s9"), "s9 is no server of the farm; there are legacy, s"),
        (lambda view: orders.remove(view, "s9"), "s9 is no server of the farm"),
        (lambda view: orders.resize(view, "s9", TENTH), "s9 is no server of the farm"),
        (lambda view: orders.resize(view, "legacy", TENTH), "legacy brings its own identifiers"),
        (
            lambda view: orders.resize(view, "s1", Size(Fraction(1))),
            "come to more than 100% of what is not spare, or leave nothing for others: 819 of 819",
        ),
        (
            lambda view: orders.add(view, "s3", size=Size(Fraction(100, 100))),
            "more than 100%",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(order: Callable[[View], Order], words: str) -> None:
    view = _with_own_ids(ManagedFarm("s1", "s2"))
    with pytest.raises(HomingError) as caught:
        order(view)
    assert words in str(caught.value)


def test_the_last_active_server_stays() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.ask(orders.drain(farm.view, "s1"))
    for leave in (orders.drain, orders.remove):
        with pytest.raises(HomingError, match="s2 is the only active server: add another first"):
            leave(farm.view, "s2")


def test_a_draining_server_has_no_size() -> None:
    farm = ManagedFarm("s1", "s2")
    farm.ask(orders.drain(farm.view, "s1"))
    with pytest.raises(HomingError, match="s1 is draining: it is to own nothing"):
        orders.resize(farm.view, "s1", TENTH)


def test_a_scheme_by_function_has_no_sizes() -> None:
    farm = ManagedFarm("s1", scheme="hash")
    with pytest.raises(HomingError, match='the scheme "hash" is a function'):
        orders.resize(farm.view, "s1", TENTH)


def test_an_empty_registry_is_no_farm() -> None:
    for order in (orders.add, orders.drain):
        with pytest.raises(HomingError, match="the registry knows of no farm yet"):
            order(View(), "s1")
