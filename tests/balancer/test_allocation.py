"""Which identifiers each server gets when nobody says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.allocation import ARENA_PREFIX, AllocationError, Need, allocate
from homing.balancer.table import Table
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits, overlap
from homing.shared.record import Record
from tests.strategies import IDENTIFIERS

ARENA = 1 << 224
NONE = Fraction(0)


def named(shares: Sequence[Fraction | None], max_ids: Sequence[int | None]) -> list[Need]:
    asked = [(share, None) for share in shares] + [(None, most) for most in max_ids]
    return [Need(f"s{index}", *each) for index, each in enumerate(asked)]


fractions = st.fractions(Fraction(1, 1000), Fraction(99, 100), max_denominator=1000)
needs = st.builds(
    named,
    st.lists(st.none() | fractions, max_size=5),
    st.lists(st.integers(1, 1 << 130) | st.integers(1, 1 << 220), max_size=3),
)
spares = st.fractions(0, Fraction(9, 10), max_denominator=100)
occupied_sets: st.SearchStrategy[IdSet] = (
    st.builds(IdRange.of_prefix, st.sampled_from([b"HOM", b"HOME", b"HOMEx", b"HOMF", b"HOMG1"]))
    | st.builds(IdList, st.lists(IDENTIFIERS, min_size=1, max_size=3))
    | st.just(IdList([b"HOME1", b"HOMF1"]))
    | st.just(MandatoryBits(b"\xff\xff\xff\x01", b"HOM\x01"))
)


def size(record: Record) -> int:
    return record.count()


class TestAnyFarm:
    @given(needs, spares, st.lists(occupied_sets, max_size=3))
    def test_no_two_servers_ever_get_the_same_identifier(
        self, asked: list[Need], spare: Fraction, occupied: list[IdSet]
    ) -> None:
        try:
            records = allocate(asked, spare, occupied)
        except AllocationError:
            return
        assert list(records) == [need.name for need in asked]
        sets = [id_set for record in records.values() for id_set in record.sets]
        assert not any(overlap(one, other) for one, other in combinations(sets, 2))
        assert not any(overlap(one, other) for one in sets for other in occupied)
        Table.of_records(records)

    @given(needs, spares)
    def test_the_random_session_id_of_a_tls13_client_almost_never_hits(
        self, asked: list[Need], spare: Fraction
    ) -> None:
        try:
            records = allocate(asked, spare)
        except AllocationError:
            return
        assigned = sum(map(size, records.values()))
        assert assigned <= ARENA * (1 - spare)
        assert Fraction(assigned, 1 << 256) <= Fraction(1, 1 << 16)
        assert all(
            id_set.first.startswith(ARENA_PREFIX) for r in records.values() for id_set in r.sets
        )

    @given(needs, spares, st.randoms(use_true_random=False))
    def test_the_16_byte_key_name_of_a_ticket_leads_to_its_server(
        self, asked: list[Need], spare: Fraction, luck: random.Random
    ) -> None:
        try:
            records = allocate(asked, spare)
        except AllocationError:
            return
        table = Table.of_records(records)
        for name, record in records.items():
            (id_set,) = record.sets
            drawn = record.draw(luck.randrange, lambda _: False)
            for identifier in (drawn, id_set.first, id_set.last):
                assert table.owner(identifier) == table.owner(identifier[:16]) == name
            assert record.count(16) >= 1

    @given(st.lists(fractions, min_size=1, max_size=6), spares)
    def test_shares_that_fit_are_granted_to_the_last_identifier(
        self, shares: list[Fraction], spare: Fraction
    ) -> None:
        total = sum(shares)
        asked = named([share / total for share in shares], [])
        records = allocate(asked, spare)
        unit = 1 << 128
        for need in asked:
            assert need.share is not None
            fair = need.share * ARENA * (1 - spare)
            assert fair - 2 * unit < size(records[need.name]) <= fair

    @given(st.lists(st.integers(1, 1 << 130), min_size=1, max_size=5))
    def test_a_server_that_says_how_many_it_wants_gets_exactly_that(self, most: list[int]) -> None:
        asked = named([None], most)
        records = allocate(asked, NONE)
        assert [size(records[need.name]) for need in asked[1:]] == most


class TestShares:
    def test_servers_that_ask_for_nothing_share_evenly(self) -> None:
        records = allocate(named([None, None, None], []), Fraction(1, 4))
        sizes = {size(record) for record in records.values()}
        assert len(sizes) == 1
        assert ARENA // 4 - (1 << 128) < sizes.pop() <= ARENA // 4

    def test_servers_that_ask_for_nothing_share_what_the_others_leave(self) -> None:
        records = allocate(named([Fraction(1, 2), None, None], []), NONE)
        assert [size(record) for record in records.values()] == [ARENA // 2] + [ARENA // 4] * 2

    def test_the_same_farm_gets_the_same_identifiers_at_every_start(self) -> None:
        asked = named([Fraction(1, 3), None], [1000])
        assert allocate(asked, Fraction(1, 5)) == allocate(asked, Fraction(1, 5))

    def test_an_empty_farm_needs_nothing(self) -> None:
        assert allocate([], NONE) == {}


class TestOccupied:
    def test_a_server_with_ids_of_its_own_keeps_them(self) -> None:
        own = IdRange.of_prefix(b"HOME\x80")
        (record,) = allocate([Need("s1")], NONE, [own]).values()
        assert record.sets == (IdRange.of_prefix(b"HOMF"),)

    def test_ids_elsewhere_move_nothing(self) -> None:
        (record,) = allocate([Need("s1")], NONE, [IdRange.of_prefix(b"SRVA")]).values()
        assert record.sets == (IdRange.of_prefix(ARENA_PREFIX),)

    def test_no_room_beside_the_ids_of_others_is_said(self) -> None:
        everything = MandatoryBits(b"\0" * 31 + b"\1", b"\0")
        with pytest.raises(AllocationError, match="leave no room") as caught:
            allocate([Need("s1")], NONE, [everything])
        assert caught.value.server is None


class TestErrors:
    @pytest.mark.parametrize(
        ("asked", "spare", "culprit"),
        [
            (named([Fraction(3, 4), Fraction(1, 2)], []), NONE, "s1"),
            (named([Fraction(1), None], []), NONE, "s1"),
            (named([None], [ARENA + 1]), NONE, "s1"),
            (named([], [ARENA // 2 + 1]), Fraction(1, 2), "s0"),
            (named([Fraction(1, 2)], [ARENA // 2, 1]), NONE, "s2"),
            (named([None], []), Fraction(1), "s0"),
        ],
    )
    def test_asking_for_more_than_there_is_names_the_server(
        self, asked: list[Need], spare: Fraction, culprit: str
    ) -> None:
        with pytest.raises(AllocationError, match=f'nothing is left for "{culprit}"') as caught:
            allocate(asked, spare)
        assert caught.value.server == culprit

    def test_a_server_that_wants_no_ids_is_refused_with_the_error_that_is_promised(self) -> None:
        with pytest.raises(AllocationError) as caught:
            allocate([Need("s1", max_ids=0)], NONE)
        assert caught.value.server == "s1"
