"""Drawing goes straight to the record, and is left alone for a while where it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.journal import Journal
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList
from homing.shared.part import Taken
from homing.shared.record import Record
from tests.tls import RECORD

ONE = Record((IdList([b"\1" * 32]),))


class Draws:
    """An issuer, its clock, and how often it looked for an ID."""

    def __init__(self, record: Record, journal: Journal | None = None) -> None:
        self.now = 0.0
        self.looked = 0
        self.issuer = Issuer(
            record,
            session_lifetime=100,
            randbelow=self.randbelow,
            now=lambda: self.now,
            journal=journal,
        )

    def randbelow(self, below: int) -> int:
        self.looked += 1
        return 0

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
