"""Drawing goes straight to the record, and is left alone for a while where it failed."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.journal import Journal
from homing.shared.errors import NoFreeIdentifier
from homing.shared.farm_state.values import Live
from homing.shared.id_sets import IdList, IdRange
from homing.shared.part import Taken
from homing.shared.record import Record
from tests.tls import RECORD

ONE = Record((IdList([b"\1" * 32]),))


class Draws:
    """An issuer, its clock, and how often it looked for an ID."""

    def __init__(self, record: Record, journal: Journal | None = None) -> None:
        self.now = 0.0
        self.ends = 0.0
        self.looked = 0
        self.issuer = Issuer(
            record,
            session_lifetime=100,
            randbelow=self.randbelow,
            now=lambda: self.now,
            ends=lambda: self.ends,
            journal=journal,
        )

    def randbelow(self, below: int) -> int:
        self.looked += 1
        self.on_draw()
        return 0

    def on_draw(self) -> None:
        """What happens in the middle of a draw."""

    def fails(self, taken: Taken = lambda one: False) -> bool:
        try:
            self.issuer.session_id(taken)
        except NoFreeIdentifier:
            return True
        return False


def test_a_record_with_many_ids_needs_no_memory_and_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    draws = Draws(RECORD, Journal(path, lambda: 0.0, pytest.fail))
    assert [draws.issuer.session_id(lambda one: False) for _ in range(3)]
    assert not path.exists()
    draws.issuer.record = ONE
    draws.issuer.session_id(lambda one: False)
    assert path.exists(), "it is needed from now on"


def test_drawing_that_failed_is_tried_again_after_a_pause() -> None:
    draws = Draws(ONE)
    assert not draws.fails()
    assert draws.fails()
    looked = draws.looked
    assert draws.fails()
    assert draws.looked == looked
    draws.now += 1
    assert draws.fails()
    assert draws.looked > looked


def test_what_was_taken_back_and_a_new_record_are_drawn_from_at_once() -> None:
    draws = Draws(ONE)
    identifier = draws.issuer.session_id(lambda one: False)
    assert draws.fails()
    draws.issuer.take_back([identifier])
    assert not draws.fails()
    assert draws.fails()
    draws.issuer.record = RECORD
    assert not draws.fails()


def test_tickets_go_on_where_no_session_id_is_left() -> None:
    draws = Draws(Record((IdList([b"\1" * 16 + bytes(16)]),)))
    assert not draws.fails()
    assert draws.fails()
    assert draws.issuer.key_name() == b"\1" * 16


PARTS = {n: IdRange.of_prefix(bytes([n])) for n in range(1, 4)}


def free(identifier: bytes) -> bool:
    return False


def test_a_server_knows_of_each_part_what_lives() -> None:
    draws = Draws(Record())
    draws.issuer.use({1: PARTS[1]}, inf)
    one, name = draws.issuer.session_id(free), draws.issuer.key_name()
    draws.now = 10.0
    draws.issuer.use({2: PARTS[2]}, inf)
    another = draws.issuer.session_id(free)
    assert draws.issuer.listing(1) == (one, name)
    assert draws.issuer.listing(2) == (another,)
    assert draws.issuer.live(1) == Live(1, 2, 90.0)
    assert draws.issuer.sessions == 3
    draws.issuer.take_back([another])
    assert draws.issuer.live(2) == Live(2, 0, 0.0)
    assert draws.issuer.living == {1}
    draws.issuer.note_unknown(3)
    assert draws.issuer.listing(3) is None


def test_of_several_parts_that_are_drawn_from_each_keeps_its_own_count() -> None:
    lists = {n: IdList(bytes([n, m]) * 16 for m in range(3)) for n in range(3)}
    draws = Draws(Record())
    draws.issuer.use(lists, inf)
    for _ in range(9):
        draws.issuer.session_id(free)
    for number, part in lists.items():
        assert sorted(draws.issuer.listing(number) or ()) == list(part.members)


def test_nothing_is_drawn_once_the_assignment_has_ended() -> None:
    draws = Draws(Record())
    draws.issuer.use(PARTS, 300.0)
    draws.ends = 299.9
    assert not draws.fails()
    draws.ends = 300.0
    assert draws.fails()
    draws.issuer.until = 600.0
    assert not draws.fails(), "it was renewed, and that counts at once"


def test_a_process_that_was_stopped_in_mid_draw_gives_nothing_out_after_its_assignment() -> None:
    draws = Draws(Record())
    draws.issuer.use(PARTS, 300.0)

    def stopped() -> None:
        draws.ends = 1000.0

    draws.on_draw = stopped  # type: ignore[method-assign]
    assert draws.fails()
    assert draws.issuer.sessions == 0


def test_a_server_without_parts_serves_all_the_same_and_draws_once_it_has_some() -> None:
    draws = Draws(Record())
    assert draws.fails()
    draws.issuer.use({1: PARTS[1]}, inf)
    assert not draws.fails()
    draws.issuer.use({}, inf)
    assert draws.fails()


def test_only_a_server_with_few_ids_asks_for_more() -> None:
    draws = Draws(ONE)
    assert not draws.issuer.nearly_used_up
    assert not draws.fails()
    assert draws.issuer.nearly_used_up
    draws.now = 101.0
    assert not draws.issuer.nearly_used_up
    draws.issuer.use(PARTS, inf)
    assert not draws.issuer.nearly_used_up
    draws.issuer.use({}, inf)
    assert not draws.issuer.nearly_used_up


def test_clients_are_given_others_only_while_a_part_leaves_and_others_can_be_drawn() -> None:
    draws = Draws(Record())
    draws.issuer.use({1: PARTS[1]}, inf)
    identifier = draws.issuer.session_id(free)
    assert draws.issuer.leaves_at(identifier) is None
    draws.issuer.use({2: PARTS[2]}, 50.0)
    draws.now = 5.0
    draws.issuer.leave({1: (PARTS[1], 60.0)})
    assert draws.issuer.leaves_at(identifier) == 65.0
    assert draws.issuer.leaves_at(draws.issuer.session_id(free)) is None
    draws.ends = 50.0
    assert not draws.issuer.leaves
    assert draws.issuer.leaves_at(identifier) is None
