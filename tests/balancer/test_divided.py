"""The numbered parts of table 130: every change routes as a table made anew would."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.divided import Cutting, Divided
from homing.balancer.table import Entry, Table
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division
from tests.assigning import by_function, free, owner

SETS = ["range", "bits", "list"]
SERVERS = st.sampled_from(["s1", "s2", "s3", None])
CHANGES = st.lists(st.dictionaries(st.integers(0, 7), SERVERS, max_size=8), max_size=6)


def cutting(scheme: str, bits: int = 3) -> Cutting:
    return Cutting(SCHEMES[scheme], Division(b"HOME", bits))


def drawn(cut: Cutting, number: int, luck: Random, length: int = 32) -> bytes:
    return cut.cut(number).draw(luck.randrange, free, length)


@pytest.mark.parametrize("scheme", SETS)
class TestParts:
    @given(changes=CHANGES, luck=st.randoms(use_true_random=False))
    def test_what_is_drawn_from_a_part_goes_to_its_present_owner(
        self, scheme: str, changes: list[dict[int, str | None]], luck: Random
    ) -> None:
        divided, owners = Divided.spare(cutting(scheme)), dict[int, str | None]()
        for change in changes:
            before, divided = divided, divided.changed(change, {})
            was = owners
            owners = owners | change
            for number in range(8):
                for length in (KEY_NAME_LENGTH, 32):
                    one = drawn(divided.cutting, number, luck, length)
                    assert owner(Table(divided=divided), one) == owners.get(number)
                    assert owner(Table(divided=before), one) == was.get(number), "it has changed"

    @given(changes=CHANGES, luck=st.randoms(use_true_random=False))
    def test_people_are_shown_every_part_once_and_neighbours_together(
        self, scheme: str, changes: list[dict[int, str | None]], luck: Random
    ) -> None:
        divided = Divided.spare(cutting(scheme))
        for change in changes:
            divided = divided.changed(change, {})
        table = Table(divided=divided)
        lines = list(table.lines())
        for number in range(8):
            one = drawn(divided.cutting, number, luck)
            listing = [line.owner for line in lines if one in line.part]
            assert listing == [name for name in [owner(table, one)] if name]
        numbers = [line.part.describe().splitlines()[0] for line in lines]
        assert len(set(numbers)) == len(numbers)
        total = sum(line.part.count() for line in lines)
        assert total == sum(entry is not None for entry in divided.entries) * (
            divided.cutting.cut(0).count()
        )

    def test_an_exception_goes_to_where_it_lives_until_it_is_taken_back(self, scheme: str) -> None:
        luck, cut = Random(1), cutting(scheme)
        name, other = (drawn(cut, 3, luck, KEY_NAME_LENGTH) for _ in range(2))
        divided = Divided.spare(cut).changed({3: "new"}, {3: {padded(name): "old"}})
        table = Table(divided=divided)
        assert owner(table, name) == owner(table, padded(name)) == "old"
        assert owner(table, other) == "new"
        exception = next(table.lines())
        assert exception.part.describe() == "exceptions in part 3: 1"
        assert name in exception.part
        assert exception.part.count(KEY_NAME_LENGTH) == 1
        assert owner(Table(divided=divided.changed({}, {3: {}})), name) == "new"

    def test_an_exception_in_another_part_takes_nothing_from_its_owner(self, scheme: str) -> None:
        """A server may say what lives there of a part, and of no other."""
        one = drawn(cutting(scheme), 5, Random(1))
        divided = Divided.spare(cutting(scheme)).changed({5: "s1"}, {3: {one: "thief"}})
        assert owner(Table(divided=divided), one) == "s1"


class TestBesideOthers:
    DIVIDED = Divided.spare(cutting("range")).changed({0: "s1", 1: "s1", 7: "s2"}, {})

    def test_servers_own_ids_and_functions_are_found_outside_of_the_arena(self) -> None:
        function = Hashing()
        records = by_function(function, ["by hash"])
        (part,) = records["by hash"].parts
        table = Table(
            (Entry("own", IdRange.of_prefix(b"SRVA")), Entry("by hash", part)),
            divided=self.DIVIDED,
        )
        assert owner(table, b"SRVA1") == "own"
        assert owner(table, b"HOME") == "s1"
        assert owner(table, b"other") == "by hash"
        assert owner(table, b"HOME\x80") is None, "spare"
        assert [line.owner for line in table.lines()] == ["s1", "s2", "own", "by hash"]
        assert table.in_words() == "table 130 has 4 entries"

    @pytest.mark.parametrize(
        "own", [IdRange.of_prefix(b"HO"), IdList([b"A", b"HOMEx", b"Z"]), IdList([b"HOME"])]
    )
    def test_ids_of_its_own_that_reach_into_the_arena_are_refused_and_named(
        self, own: IdSet
    ) -> None:
        with pytest.raises(OverlapError, match='the ids of "own" and the arena of the farm'):
            Table((Entry("own", own),), divided=self.DIVIDED)

    def test_lines_are_in_words_for_people(self) -> None:
        lines = [line.part.describe() for line in self.DIVIDED.lines()]
        assert lines == [
            f"parts 0 to 1\nfrom 484f4d45{'0' * 56}\nto   484f4d453{'f' * 55}",
            f"part 7\nfrom 484f4d45e{'0' * 55}\nto   484f4d45{'f' * 56}",
        ]
        some = Divided.spare(cutting("list")).changed({0: "s1", 1: "s1"}, {})
        assert [line.part.describe() for line in some.lines()] == ["parts 0 to 1"]


class Hashing:
    """A function by which everything is one owner's."""

    tries = 1

    def owner(self, identifier: bytes) -> str | None:
        return None if identifier.startswith(b"HOME") else "by hash"

    def make(self, owner: str, randbelow: object) -> bytes | None:
        return None

    def fingerprints(self, owner: str) -> tuple[bytes, ...]:
        return ()

    def count(self, length: int) -> int:
        return 1
