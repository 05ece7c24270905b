"""ID sets against brute force."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import (
    IdList,
    IdRange,
    IdSet,
    MandatoryBits,
    Overlap,
    from_data,
    overlap,
    overlaps,
    parse_hex,
)
from tests.assigning import free
from tests.id_set_oracle import common, holds, listed, to_int
from tests.strategies import (
    HIGHEST,
    IDENTIFIERS,
    Universe,
    always,
    any_sets,
    small_sets,
    some_sets,
    some_small_sets,
    to_bytes,
    universes,
)

ONE_OF_EACH: list[IdSet] = [
    IdRange.of_numbers(250, 300),
    MandatoryBits(to_bytes(HIGHEST ^ 0b1011_0101), to_bytes(1 << 200)),
    IdList([bytes([n]) * 32 for n in range(40)]),
]


class TestMembership:
    @given(st.data())
    def test_a_set_knows_its_own_identifiers_from_all_others(self, data: st.DataObject) -> None:
        universe = data.draw(universes())
        id_set = data.draw(any_sets(universe))
        near = st.builds(universe.at, universe.smalls) | st.sampled_from(
            [
                (to_int(end) + by) % (1 << 256)
                for end in (id_set.first, id_set.last)
                for by in (-1, 1)
            ]
        )
        value = data.draw(near | st.integers(0, HIGHEST))
        assert (to_bytes(value) in id_set) == holds(id_set, value)

    @given(some_small_sets())
    def test_first_and_last_are_the_ends_of_the_set(self, id_set: IdSet) -> None:
        members = listed(id_set)
        assert members is not None
        assert (to_int(id_set.first), to_int(id_set.last)) == (members[0], members[-1])

    @given(some_sets())
    def test_first_and_last_of_a_set_of_any_size_are_members(self, id_set: IdSet) -> None:
        assert id_set.first in id_set
        assert id_set.last in id_set
        assert id_set.first <= id_set.last

    @given(some_sets(), st.binary(min_size=1, max_size=31))
    def test_a_short_identifier_counts_as_if_followed_by_zeros(
        self, id_set: IdSet, identifier: bytes
    ) -> None:
        assert (identifier in id_set) == (identifier.ljust(32, b"\0") in id_set)

    @given(st.binary(min_size=1, max_size=32), IDENTIFIERS)
    def test_a_prefix_means_what_starts_with_it(self, prefix: bytes, identifier: bytes) -> None:
        of_prefix = IdRange.of_prefix(prefix)
        assert (identifier in of_prefix) == identifier.startswith(prefix)
        assert prefix + identifier[len(prefix) :] in of_prefix


class TestCounting:
    @given(some_small_sets(), st.sampled_from([32, 31, 16, 15, 1]))
    def test_numbering_gives_every_identifier_of_a_length_once(
        self, id_set: IdSet, length: int
    ) -> None:
        members = listed(id_set)
        assert members is not None
        tail = 8 * (32 - length)
        expected = [to_bytes(m)[:length] for m in members if m % (1 << tail) == 0]
        assert id_set.count(length) == len(expected)
        assert sorted(id_set.nth(i, length) for i in range(len(expected))) == expected

    @given(some_sets(), st.sampled_from([32, 16]), st.data())
    def test_every_number_of_a_large_set_is_another_member(
        self, id_set: IdSet, length: int, data: st.DataObject
    ) -> None:
        count = id_set.count(length)
        if not count:
            return
        one, other = (data.draw(st.integers(0, count - 1)) for _ in range(2))
        for index in (one, other, 0, count - 1):
            assert len(id_set.nth(index, length)) == length
            assert id_set.nth(index, length) in id_set
        assert (id_set.nth(one, length) == id_set.nth(other, length)) == (one == other)

    @given(st.binary(min_size=1, max_size=16), st.sampled_from([16, 32]))
    def test_a_prefix_has_all_the_identifiers_that_fit_behind_it(
        self, prefix: bytes, length: int
    ) -> None:
        assert IdRange.of_prefix(prefix).count(length) == 256 ** (length - len(prefix))

    def test_no_mandatory_bit_means_every_identifier(self) -> None:
        everything = MandatoryBits(b"\0", b"\0")
        assert everything.count() == 1 << 256
        assert everything.nth((1 << 256) - 1) == b"\xff" * 32
        assert b"\x5a" * 32 in everything


class TestDrawing:
    @pytest.mark.parametrize("id_set", ONE_OF_EACH)
    def test_every_identifier_is_drawn_equally_likely(self, id_set: IdSet) -> None:
        members = listed(id_set)
        assert members is not None
        drawn = [id_set.draw(always(i), free) for i in range(id_set.count())]
        assert sorted(map(to_int, drawn)) == members

    @pytest.mark.parametrize("id_set", ONE_OF_EACH)
    def test_free_identifiers_are_drawn_equally_likely_when_most_are_taken(
        self, id_set: IdSet
    ) -> None:
        free = {id_set.nth(i) for i in (0, 5, 11, id_set.count() - 1)}
        randbelow = random.Random(7).randrange
        drawn = Counter(
            id_set.draw(randbelow, lambda identifier: identifier not in free) for _ in range(4000)
        )
        assert set(drawn) == free
        chi_square = sum((seen - 1000) ** 2 / 1000 for seen in drawn.values())
        assert chi_square < 16.3  # three degrees of freedom, 99.9%

    @pytest.mark.parametrize("id_set", ONE_OF_EACH)
    def test_luck_that_always_hits_a_taken_identifier_still_finds_a_free_one(
        self, id_set: IdSet
    ) -> None:
        free = id_set.nth(id_set.count() - 1)
        assert id_set.draw(always(0), lambda identifier: identifier != free) == free

    @given(some_small_sets(), st.data(), st.randoms(use_true_random=False))
    def test_a_used_up_set_says_so_and_only_then(
        self, id_set: IdSet, data: st.DataObject, luck: random.Random
    ) -> None:
        taken = {id_set.nth(i) for i in range(id_set.count())}
        with pytest.raises(NoFreeIdentifier, match="no free identifier"):
            id_set.draw(luck.randrange, taken.__contains__)
        last = data.draw(st.sampled_from(sorted(taken)))
        taken.remove(last)
        assert id_set.draw(luck.randrange, taken.__contains__) == last

    def test_a_nearly_used_up_set_of_many_identifiers_still_gives_one_out(self) -> None:
        id_set = IdRange.of_numbers(0, 99_999)
        randbelow = random.Random(3).randrange
        for _ in range(50):
            drawn = id_set.draw(randbelow, lambda identifier: to_int(identifier) < 99_000)
            assert to_int(drawn) >= 99_000

    @given(some_sets(), st.randoms(use_true_random=False))
    def test_a_ticket_key_name_drawn_from_a_set_leads_back_to_it(
        self, id_set: IdSet, luck: random.Random
    ) -> None:
        if not id_set.count(16):
            with pytest.raises(NoFreeIdentifier):
                id_set.draw(luck.randrange, free, 16)
            return
        name = id_set.draw(luck.randrange, free, 16)
        assert len(name) == 16
        assert name in id_set


class TestPlainData:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"prefix": "0a"}, IdRange.of_numbers(10 << 248, (11 << 248) - 1)),
            ({"range": ["0a", "0B"]}, IdRange.of_numbers(10 << 248, (12 << 248) - 1)),
            ({"mask": "f0", "value": "10"}, MandatoryBits(b"\xf0", b"\x10")),
            ({"list": ["01", "00ff"]}, IdList([b"\0\xff", b"\1"])),
        ],
    )
    def test_farm_toml_forms_mean_what_they_say(
        self, data: dict[str, object], expected: IdSet
    ) -> None:
        assert from_data(data) == expected

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            ({}, "expected .*prefix = HEX.* got nothing"),
            ({"prefix": "aa", "list": ["bb"]}, r"got \['list', 'prefix'\]"),
            ({"mask": "ff"}, r"got \['mask'\]"),
            ({"prefixes": "aa"}, r"got \['prefixes'\]"),
            ({"prefix": 7}, "7 is not a string of hex digits"),
            ({"prefix": "xy"}, "'xy' is not hex"),
            ({"prefix": "abc"}, "'abc' is not hex: pairs"),
            ({"prefix": ""}, "0 bytes long; identifiers have 1 to 32"),
            ({"prefix": "ab" * 33}, "33 bytes long"),
            ({"range": ["aa"]}, "two ends"),
            ({"range": ["aa", "bb", "cc"]}, "two ends"),
            ({"range": "aabb"}, "two ends"),
            ({"range": ["bb", "aa"]}, "below its start"),
            ({"mask": "f0", "value": "ff"}, "bits that the mask does not"),
            ({"mask": "f0", "value": 16}, "not a string"),
            ({"list": "aa"}, "list takes identifiers"),
            ({"list": []}, "empty"),
            ({"list": ["aa", 3]}, "not a string"),
        ],
    )
    def test_a_mistake_in_farm_toml_is_told_in_its_own_words(
        self, data: dict[str, object], complaint: str
    ) -> None:
        with pytest.raises(ValueError, match=complaint):
            from_data(data)

    @given(st.binary(min_size=1, max_size=32))
    def test_hex_is_read_in_either_case(self, value: bytes) -> None:
        assert parse_hex(value.hex()) == parse_hex(value.hex().upper()) == value


def expected_overlap(one: IdSet, other: IdSet) -> Overlap | None:
    ends = common(one, other)
    return None if ends is None else Overlap(to_bytes(ends[0]), to_bytes(ends[1]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[IdSet, IdSet]:
    universe = draw(universes())
    return draw(small_sets(universe)), draw(any_sets(universe))


@st.composite
def scaled_ranges_and_bits(draw: st.DrawFn) -> tuple[int, IdRange, MandatoryBits, int]:
    """A small range and small mandatory bits, and how many free bits to put below both."""
    width = draw(st.integers(1, 9))
    shift = draw(st.integers(0, 256 - width))
    most = (1 << width) - 1
    start, end = sorted([draw(st.integers(0, most)), draw(st.integers(0, most))])
    mask = ~most & HIGHEST | draw(st.integers(0, most))
    value = draw(st.integers(0, most)) & mask
    bits = MandatoryBits(to_bytes(mask), to_bytes(value))
    return shift, IdRange.of_numbers(start, end), bits, width


class TestOverlap:
    @given(pairs())
    def test_no_overlap_of_two_servers_goes_unseen_and_none_is_made_up(
        self, pair: tuple[IdSet, IdSet]
    ) -> None:
        one, other = pair
        assert overlap(one, other) == overlap(other, one) == expected_overlap(one, other)

    @given(st.lists(st.integers(0, HIGHEST) | st.integers(0, 9), min_size=4, max_size=4))
    def test_two_ranges_of_any_size_overlap_exactly_where_they_meet(self, ends: list[int]) -> None:
        one = IdRange.of_numbers(*sorted(ends[:2]))
        other = IdRange.of_numbers(*sorted(ends[2:]))
        assert overlap(one, other) == overlap(other, one) == expected_overlap(one, other)

    @given(scaled_ranges_and_bits())
    def test_a_large_range_and_bits_with_many_members_overlap_exactly_where_they_meet(
        self, case: tuple[int, IdRange, MandatoryBits, int]
    ) -> None:
        shift, small_range, small_bits, width = case
        ends = common(small_range, small_bits)
        below = (1 << shift) - 1
        a_range = IdRange.of_numbers(
            to_int(small_range.first) << shift, to_int(small_range.last) << shift | below
        )
        top = HIGHEST ^ ((1 << (shift + width)) - 1)
        mask = to_int(small_bits.mask) << shift & HIGHEST | top
        bits = MandatoryBits(to_bytes(mask), to_bytes(to_int(small_bits.value) << shift))
        expected = ends and Overlap(to_bytes(ends[0] << shift), to_bytes(ends[1] << shift | below))
        assert overlap(a_range, bits) == overlap(bits, a_range) == expected

    @given(some_sets())
    def test_a_set_overlaps_itself_from_end_to_end(self, id_set: IdSet) -> None:
        assert overlap(id_set, id_set) == Overlap(id_set.first, id_set.last)

    def test_a_pair_that_overlaps_is_told_once_and_the_earlier_set_first(self) -> None:
        a_list, a_range = IdList([to_bytes(0), to_bytes(5)]), IdRange.of_numbers(0, 100)
        common = Overlap(to_bytes(0), to_bytes(5))
        assert list(overlaps((a_list, a_range))) == [(0, 1, common)]
        assert list(overlaps((a_range, a_list))) == [(0, 1, common)]

    def test_an_overlap_reads_as_hex(self) -> None:
        assert str(Overlap(bytes(32), bytes(32))) == "00" * 32
        assert str(Overlap(bytes(32), b"\xff" * 32)) == "00" * 32 + " to " + "ff" * 32


class TestOracle:
    def test_brute_force_itself_gets_a_known_case_right(self) -> None:
        universe = Universe((0, 4), 0)
        bits = MandatoryBits(to_bytes(HIGHEST ^ universe.varying), bytes(32))
        assert listed(bits) == [0, 1, 16, 17]
        assert common(IdRange.of_numbers(1, 16), bits) == (1, 16)
        assert common(IdRange.of_numbers(2, 15), bits) is None
