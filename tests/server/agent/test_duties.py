"""What a server does for its parts, step by step, when messages are late."""

from __future__ import annotations

import attrs
import pytest

from homing.server.agent.duties import Duties, PartSize, duties
from homing.server.agent.given_up import GivenUp
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import (
    Assignment,
    BalancerPresence,
    Exceptions,
    Live,
    PartValue,
    ServerFacts,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import Batch, Item

ONE, OTHER = bytes(32).hex(), (bytes(31) + b"\1").hex()


@attrs.define
class Lives:
    """What lives at the server, in whatever part."""

    identifiers: tuple[bytes, ...] = ()

    def live(self, part: int) -> Live:
        return Live(part, len(self.identifiers), 10.0 if self.identifiers else 0.0)

    def listing(self, part: int) -> tuple[bytes, ...] | None:
        return self.identifiers


class Farm:
    """The state of a farm of one balancer, as the server s1 sees it."""

    def __init__(self) -> None:
        self.view = View(pytest.fail)
        self.revision = 0
        self.lives = Lives()
        self.given_up = GivenUp()
        self.put(keys.wish("s1"), Wish(ServerFacts("unix:s1.sock")))
        self.put(keys.assignment("s1"), Assignment("x", "here"))

    def put(self, key: str, value: object) -> None:
        self.revision += 1
        self.view.apply(Batch(self.revision, {key: Item(encode(value), self.revision)}))

    def put_part(self, number: int, part: PartValue) -> None:
        self.put(keys.part(number), part)

    def followed(self, revision: int | None = None) -> None:
        epoch = self.revision if revision is None else revision
        self.put(keys.balancer("b1"), BalancerPresence("x", epoch=epoch))

    def due(self, parts_last: bool = True) -> Duties:
        return duties(
            self.view,
            "s1",
            self.lives,
            0.0,
            self.given_up,
            size=PartSize.LASTS if parts_last else PartSize.USED_UP,
        )


def changed(due: Duties) -> list[str]:
    return [key for one in due.transactions for key in (*one.puts, *one.deletes)]


def test_a_part_is_opened_only_when_the_balancer_routes_it() -> None:
    farm = Farm()
    farm.followed()
    farm.put_part(1, PartValue("s1"))
    assert changed(farm.due()) == []
    farm.followed()
    assert changed(farm.due()) == [keys.part(1)]
    assert farm.due().drawing == {}


def test_a_part_of_which_stopped_was_said_is_not_drawn_from_although_another_leaves() -> None:
    farm = Farm()
    leaving = PartValue("s1", True, PartStep.LEAVING, "s2", Way.DRAIN)
    farm.put_part(1, leaving)
    farm.put_part(2, PartValue("s1", True))
    farm.put_part(3, PartValue("s1"))
    farm.followed(1)
    assert changed(farm.due()) == [keys.part(1)]  # under way, and late
    farm.put_part(2, leaving)
    assert set(farm.due().drawing) == {2}
    farm.put_part(1, PartValue("s1", True))  # called off: what is late comes to nothing
    assert set(farm.due().drawing) == {1}


def test_a_part_whose_mark_is_being_taken_away_is_not_drawn_from_again() -> None:
    farm = Farm()
    farm.put_part(1, PartValue("s1", True))
    farm.put_part(2, PartValue("s1", True))
    assert changed(farm.due()) == [keys.part(2)]
    farm.put_part(1, PartValue("s1", True, PartStep.LEAVING, "s2", Way.DRAIN))
    assert 2 not in farm.due().drawing


def test_a_move_goes_on_only_when_all_exceptions_are_listed() -> None:
    farm = Farm()
    farm.lives = Lives((bytes.fromhex(ONE),))
    farm.put_part(1, PartValue("s1", True, PartStep.LEAVING, "s2", Way.EXCEPTIONS))
    page = keys.page(1, "s1", 0)
    assert changed(farm.due()) == [page]
    farm.put(page, Exceptions((ONE,)))
    assert changed(farm.due()) == [keys.part(1)]


def test_exceptions_of_a_part_that_is_back_stay_until_it_is_marked_as_drawn() -> None:
    farm = Farm()
    farm.lives = Lives((bytes.fromhex(ONE),))
    farm.put(keys.page(1, "s1", 0), Exceptions((ONE,)))
    farm.followed(1)
    farm.put_part(1, PartValue("s1"))  # it could be given to anybody at once
    assert changed(farm.due()) == []
    farm.put_part(1, PartValue("s1", True))
    assert changed(farm.due()) == [keys.page(1, "s1", 0)]


def test_what_ended_is_drawn_only_when_no_balancer_looks_it_up_as_an_exception() -> None:
    farm = Farm()
    page = keys.page(1, "s1", 0)
    farm.put_part(1, PartValue("s2", True))
    farm.put(page, Exceptions((ONE, OTHER)))
    farm.followed(1)
    farm.lives = Lives((bytes.fromhex(OTHER),))
    (shorter,) = farm.due().transactions
    assert shorter.puts[page] == encode(Exceptions((OTHER,), (ONE,)))
    assert keys.part(1) in shorter.expected
    farm.put(page, Exceptions((), (ONE, OTHER)))
    farm.lives = Lives()
    assert changed(farm.due()) == []
    farm.put_part(1, PartValue("s1", True))
    assert farm.due().drawing[1] == {bytes.fromhex(ONE), bytes.fromhex(OTHER)}
    farm.put_part(1, PartValue("s2", True))
    farm.followed()
    (gone,) = farm.due().transactions
    assert gone.deletes == {page}


def test_a_small_part_is_drawn_from_beside_all_others() -> None:
    farm = Farm()
    farm.put_part(1, PartValue("s1", True))
    farm.put_part(2, PartValue("s1", True))
    assert set(farm.due(parts_last=False).drawing) == {1, 2}
