"""The schemes bits and list: every server gets as many identifiers, and nobody's twice."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.balancer.allocation import ARENA_PREFIX, AllocationError, Need
from homing.balancer.even_sets import allocate_bits, allocate_lists
from homing.balancer.table import Table
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlap
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH
from homing.shared.record import Record
from tests.strategies import IDENTIFIERS

FARMS = st.lists(st.text("abcs0123456789", min_size=1, max_size=8), max_size=40, unique=True)
OCCUPIED: st.SearchStrategy[list[IdSet]] = st.lists(
    st.builds(IdRange.of_prefix, st.sampled_from([b"HOM", b"HOME", b"HOMEx", b"HOMF", b"\x80"]))
    | st.builds(IdList, st.lists(IDENTIFIERS, min_size=1, max_size=3))
    | st.just(IdList([b"HOME1", b"HOMF1"]))
    | st.just(MandatoryBits(b"\1", b"\1")),
    max_size=3,
)
SPARSE = Fraction(1, 1 << 16)


def free(identifier: bytes) -> bool:
    return False


def sets_of(records: dict[str, Record]) -> list[IdSet]:
    return [id_set for record in records.values() for id_set in record.sets]


def assigned(records: dict[str, Record]) -> Fraction:
    """The part of all identifiers that is somebody's: how often a random one hits."""
    return Fraction(sum(record.count() for record in records.values()), 1 << 8 * LENGTH)


def check(records: dict[str, Record], occupied: list[IdSet], luck: Random) -> None:
    """What any farm may expect of any allocation."""
    sets = sets_of(records)
    assert not any(overlap(one, other) for one, other in combinations(sets, 2))
    assert not any(overlap(one, other) for one in sets for other in occupied)
    table = Table.of_records(records)
    for name, record in records.items():
        for length in (KEY_NAME_LENGTH, LENGTH):
            identifier = record.draw(luck.randrange, free, length)
            assert len(identifier) == length
            assert table.owner(identifier) == name
    assert assigned(records) <= SPARSE


class TestBits:
    @given(FARMS, OCCUPIED, st.integers().map(Random))
    def test_no_two_servers_share_an_identifier_and_what_they_draw_comes_home(
        self, names: list[str], occupied: list[IdSet], luck: Random
    ) -> None:
        try:
            records = allocate_bits(names, occupied)
        except AllocationError:
            assert any(one == MandatoryBits(b"\1", b"\1") for one in occupied)
            return
        assert list(records) == names
        check(records, occupied, luck)

    @pytest.mark.parametrize("servers", [1, 2, 3, 4, 7, 8, 100, 255, 256, 1000])
    def test_a_pattern_stays_spare_for_a_server_to_come(self, servers: int) -> None:
        names = [f"s{number}" for number in range(servers)]
        records = allocate_bits(names)
        masks = {one.mask_number for one in sets_of(records) if isinstance(one, MandatoryBits)}
        assert len(masks) == 1, "one mask: one look-up"
        patterns = 1 << masks.pop().bit_count() - 8 * len(ARENA_PREFIX)
        assert servers < patterns <= 2 * servers
        spare = IdRange.of_prefix(ARENA_PREFIX).count() - sum(r.count() for r in records.values())
        assert spare == (patterns - servers) * next(iter(records.values())).count()

    @pytest.mark.parametrize("servers", [1, 5, 64])
    def test_every_server_gets_as_many(self, servers: int) -> None:
        records = allocate_bits([f"s{number}" for number in range(servers)])
        assert len({record.count() for record in records.values()}) == 1
        assert len({record.count(KEY_NAME_LENGTH) for record in records.values()}) == 1

    def test_a_server_that_fits_the_spare_patterns_moves_nobody(self) -> None:
        before, after = (
            allocate_bits(["s1", "s2", "s3", "s4"]),
            allocate_bits("s1 s2 s3 s4 s5".split()),
        )
        assert {name: after[name] for name in before} == before

    def test_a_farm_whose_ids_leave_no_room_is_refused_in_words(self) -> None:
        with pytest.raises(AllocationError, match="no room"):
            allocate_bits(["s1"], [MandatoryBits(b"", b"")])


class TestLists:
    @given(FARMS, st.integers(1, 40), OCCUPIED, st.integers().map(Random))
    def test_no_two_servers_share_an_identifier_and_what_they_draw_comes_home(
        self, names: list[str], size: int, occupied: list[IdSet], luck: Random
    ) -> None:
        records = allocate_lists([Need(name) for name in names], size, occupied)
        assert list(records) == names
        assert [record.count() for record in records.values()] == [size] * len(names)
        check(records, occupied, luck)

    @given(st.integers(1, 50), st.integers(1, 50))
    def test_a_server_gets_the_number_it_asks_for(self, asked: int, size: int) -> None:
        records = allocate_lists([Need("s1", max_ids=asked), Need("s2")], size)
        assert {name: record.count() for name, record in records.items()} == {
            "s1": asked,
            "s2": size,
        }

    def test_every_member_can_be_a_tickets_name(self) -> None:
        record = allocate_lists([Need("s1")], 200)["s1"]
        assert record.count(KEY_NAME_LENGTH) == record.count() == 200
        luck, drawn = Random(1), set[bytes]()
        while len(drawn) < 200:
            drawn.add(record.draw(luck.randrange, drawn.__contains__, KEY_NAME_LENGTH))
        assert all(identifier in record for identifier in drawn)

    def test_servers_and_sizes_that_change_leave_the_others_their_identifiers(self) -> None:
        before = allocate_lists([Need("s1"), Need("s2")], 50)
        after = allocate_lists([Need("s9"), Need("s2"), Need("s1", max_ids=80)], 50)
        assert after["s2"] == before["s2"]
        assert all(member in after["s1"] for member in members(before["s1"]))

    def test_members_are_scattered_over_all_identifiers(self) -> None:
        """Else a hello's random ID hits more often in some places, and lists tell servers apart."""
        record = allocate_lists([Need("s1")], 2000)["s1"]
        first_bytes = [member[0] for member in members(record)]
        counts = [first_bytes.count(value) for value in range(256)]
        expected = 2000 / 256
        # 255 degrees of freedom, 6 sigma
        assert sum((count - expected) ** 2 / expected for count in counts) < 391

    @settings(max_examples=20)
    @given(st.integers(0, 255))
    def test_what_another_server_brings_is_left_to_it(self, first: int) -> None:
        free_list = allocate_lists([Need("s1")], 300)["s1"]
        occupied = [IdRange.of_prefix(bytes([first]))]
        record = allocate_lists([Need("s1")], 300, occupied)["s1"]
        assert record.count() == 300
        assert not any(member[0] == first for member in members(record))
        kept = {member for member in members(free_list) if member[0] != first}
        assert kept <= set(members(record))

    @pytest.mark.timeout(10)
    def test_a_farm_whose_ids_leave_no_room_is_refused_in_words(self) -> None:
        with pytest.raises(AllocationError, match="no room"):
            allocate_lists([Need("s1")], 10, [MandatoryBits(b"", b"")])


def members(record: Record) -> list[bytes]:
    return [record.nth(index) for index in range(record.count())]
