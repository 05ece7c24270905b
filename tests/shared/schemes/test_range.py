"""The scheme range: who asks for how much, and gets it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.schemes.base import AllocationError, Need
from homing.shared.schemes.range import allocate

ARENA = 1 << 224
NONE = Fraction(0)


def named(shares: Sequence[Fraction | None], max_ids: Sequence[int | None]) -> list[Need]:
    asked = [(share, None) for share in shares] + [(None, most) for most in max_ids]
    return [Need(f"s{index}", *each) for index, each in enumerate(asked)]


fractions = st.fractions(Fraction(1, 1000), Fraction(99, 100), max_denominator=1000)
spares = st.fractions(0, Fraction(9, 10), max_denominator=100)


class TestShares:
    @given(st.lists(fractions, min_size=1, max_size=6), spares)
    def test_shares_that_fit_are_granted_to_the_last_identifier(
        self, shares: list[Fraction], spare: Fraction
    ) -> None:
        total = sum(shares)
        asked = named([share / total for share in shares], [])
        ranges = allocate(asked, spare)
        unit = 1 << 128
        for need in asked:
            assert need.share is not None
            fair = need.share * ARENA * (1 - spare)
            assert fair - 2 * unit < ranges[need.owner].count() <= fair

    @given(st.lists(st.integers(1, 1 << 130), min_size=1, max_size=5))
    def test_a_server_that_says_how_many_it_wants_gets_exactly_that(self, most: list[int]) -> None:
        asked = named([None], most)
        ranges = allocate(asked, NONE)
        assert [ranges[need.owner].count() for need in asked[1:]] == most

    def test_servers_that_ask_for_nothing_share_evenly(self) -> None:
        ranges = allocate(named([None, None, None], []), Fraction(1, 4))
        sizes = {one.count() for one in ranges.values()}
        assert len(sizes) == 1
        assert ARENA // 4 - (1 << 128) < sizes.pop() <= ARENA // 4

    def test_servers_that_ask_for_nothing_share_what_the_others_leave(self) -> None:
        ranges = allocate(named([Fraction(1, 2), None, None], []), NONE)
        assert [one.count() for one in ranges.values()] == [ARENA // 2] + [ARENA // 4] * 2

    def test_the_same_farm_gets_the_same_identifiers_at_every_start(self) -> None:
        asked = named([Fraction(1, 3), None], [1000])
        assert allocate(asked, Fraction(1, 5)) == allocate(asked, Fraction(1, 5))


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
        with pytest.raises(AllocationError, match=f'nothing is left for "{culprit}"'):
            allocate(asked, spare)
