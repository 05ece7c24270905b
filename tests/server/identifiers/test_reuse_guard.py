"""No two clients hold one session ID, as long as either may come back with it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from homing.server.identifiers.reuse_guard import ReuseGuard
from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList, IdRange
from homing.shared.identifiers import LENGTH
from homing.shared.record import Record
from tests.assigning import members

LIFETIME = 100.0


def record(*numbers: int) -> Record:
    """A list of a few IDs."""
    return Record((IdList(bytes([number]) * LENGTH for number in numbers),))


def free(identifier: bytes) -> bool:
    """Nothing is taken."""
    return False


def unasked(below: int) -> int:
    """No search."""
    raise AssertionError("an ID is searched for")


class Clients(RuleBasedStateMachine):
    """Clients that get IDs and may come back with them for a lifetime, as a plain list of facts."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.luck = Random(1)
        self.record = record(*range(6))
        self.ids = ReuseGuard(self.record, LIFETIME)
        self.held: list[tuple[bytes, float]] = []

    def can_come_back_with(self) -> list[bytes]:
        return [identifier for identifier, end in self.held if end >= self.now]

    @rule(seconds=st.floats(0.0, LIFETIME))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_client_gets_one(self) -> None:
        held = self.can_come_back_with()
        unheld = set(members(self.record)) - set(held)
        try:
            identifier = self.ids.draw(self.now, self.luck.randrange, free)
        except NoFreeIdentifier:
            assert not unheld, "a client was turned away for nothing"
            return
        assert identifier in unheld
        self.held.append((identifier, self.now + LIFETIME))

    @rule(which=st.integers(0, 5))
    def a_handshake_breaks_off(self, which: int) -> None:
        if which < len(self.held):
            identifier, _ = self.held.pop(-1 - which)
            if identifier not in self.can_come_back_with():
                self.ids.take_back(identifier)

    @rule(first=st.integers(0, 4))
    def the_record_changes(self, first: int) -> None:
        self.record = record(*range(first, first + 6))
        self.ids.use(self.record, self.now)


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=200, stateful_step_count=40)


def test_the_one_given_out_longest_ago_is_the_first_to_be_given_out_again() -> None:
    ids = ReuseGuard(record(1, 2, 3), LIFETIME)
    luck = Random(1)
    order = [ids.draw(now, luck.randrange, free) for now in (0.0, 1.0, 2.0)]
    assert [ids.draw(now, luck.randrange, free) for now in (200.0, 201.0, 202.0)] == order


def test_an_id_that_has_rested_is_still_not_given_to_another_while_its_session_lives() -> None:
    ids = ReuseGuard(record(1), LIFETIME)
    luck = Random(1)
    identifier = ids.draw(0.0, luck.randrange, free)
    with pytest.raises(NoFreeIdentifier, match="give the server more"):
        ids.draw(LIFETIME + 1, luck.randrange, lambda one: one == identifier)
    assert ids.draw(LIFETIME + 1, luck.randrange, free) == identifier


def test_an_id_that_came_back_unused_is_given_out_next_and_needs_no_search() -> None:
    """Else whoever breaks handshakes off makes a full server look for its one free ID each time."""
    ids = ReuseGuard(Record((IdRange(bytes(LENGTH), (1 << 17).to_bytes(LENGTH, "big")),)), LIFETIME)
    luck = Random(1)
    for _ in range(1 << 16):
        identifier = ids.draw(0.0, luck.randrange, free)
    ids.take_back(identifier)
    assert ids.draw(1.0, unasked, free) == identifier


def test_ids_that_have_rested_are_used_again_before_the_last_ones_are_searched_for() -> None:
    ids = ReuseGuard(record(*range(100)), LIFETIME)
    luck = Random(1)
    order = [ids.draw(0.0, luck.randrange, free) for _ in range(95)]
    assert [ids.draw(200.0, unasked, free) for _ in range(95)] == order


def test_memory_is_bounded_where_ids_are_many_but_not_endless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("homing.server.identifiers.reuse_guard._REMEMBERED", 50)
    middle = Record((IdRange(bytes(LENGTH), (1 << 40).to_bytes(LENGTH, "big")),))
    ids = ReuseGuard(middle, LIFETIME)
    luck = Random(1)
    drawn = [ids.draw(0.0, luck.randrange, free) for _ in range(200)]
    assert len(ids._resting) == 50
    assert list(ids._resting) == drawn[-50:]


def test_ids_whose_part_left_and_came_back_are_still_not_given_to_another() -> None:
    ids = ReuseGuard(record(1, 2), LIFETIME)
    luck = Random(1)
    given = {ids.draw(0.0, luck.randrange, free) for _ in range(2)}
    ids.use(record(3), 1.0)
    assert ids.draw(1.0, luck.randrange, free) not in given
    ids.use(record(1, 2, 3), 2.0)
    with pytest.raises(NoFreeIdentifier):
        ids.draw(2.0, luck.randrange, free)
    assert ids.draw(LIFETIME + 0.5, luck.randrange, free) in given, "longest ago"


def test_a_server_says_in_time_that_its_ids_are_nearly_used_up() -> None:
    ids = ReuseGuard(record(*range(10)), LIFETIME)
    luck = Random(1)
    said = []
    for n in range(10):
        said.append(ids.nearly_used_up(float(n)))
        ids.draw(float(n), luck.randrange, free)
    assert said == [False] * 9 + [True]
    assert ids.nearly_used_up(LIFETIME)
    assert not ids.nearly_used_up(LIFETIME + 1.5), "eight rest"
