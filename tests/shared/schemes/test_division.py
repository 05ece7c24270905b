"""Numbered parts: together they are the arena, none has what another has, and each is found."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.id_sets import IdList, IdSet, overlap
from homing.shared.identifiers import KEY_NAME_LENGTH, LENGTH, from_number, number, padded
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.arena import ARENA_PREFIX
from homing.shared.schemes.division import (
    MOST_BITS,
    PREFIX_LENGTH,
    Division,
    Locate,
    enough_bits,
    limited,
)
from homing.shared.schemes.list import PART_SIZE
from tests.assigning import free
from tests.strategies import IDENTIFIERS

NAMES = ["range", "bits", "list"]
PREFIXES = st.binary(min_size=PREFIX_LENGTH, max_size=PREFIX_LENGTH) | st.just(ARENA_PREFIX)
DIVISIONS = st.builds(Division, PREFIXES, st.integers(0, MOST_BITS))


def cut(name: str, division: Division, part: int) -> IdSet:
    """A part's set."""
    by = SCHEMES[name].cut
    assert by is not None
    return by(division, part)


def locator(name: str, division: Division) -> Locate:
    """The look-up of a division's parts."""
    by = SCHEMES[name].locate
    assert by is not None
    return by(division)


@pytest.mark.parametrize("name", NAMES)
class TestParts:
    @given(DIVISIONS, st.data(), st.randoms(use_true_random=False))
    def test_what_is_drawn_from_a_part_is_found_there_whatever_its_length(
        self, name: str, division: Division, data: st.DataObject, luck: Random
    ) -> None:
        part = data.draw(st.integers(0, division.count - 1))
        its = cut(name, division, part)
        locate = locator(name, division)
        for length in (KEY_NAME_LENGTH, LENGTH):
            drawn = its.draw(luck.randrange, free, length)
            assert drawn in division.arena
            assert locate(drawn) == locate(padded(drawn)) == part
            assert locate(drawn.rstrip(b"\0")) == part
        assert locate(its.first) == locate(its.last) == part

    @given(DIVISIONS, st.data(), st.binary(max_size=40))
    def test_an_identifier_is_found_in_the_part_that_has_it_and_in_no_other(
        self, name: str, division: Division, data: st.DataObject, some: bytes
    ) -> None:
        near = data.draw(st.sampled_from([some, division.prefix + some]))
        found = locator(name, division)(near)
        if found is not None:
            assert padded(near) in cut(name, division, found)
        elif name != "list":
            assert padded(near) not in division.arena

    @given(PREFIXES, st.integers(0, 4))
    def test_no_two_parts_have_an_identifier_in_common(
        self, name: str, prefix: bytes, bits: int
    ) -> None:
        division = Division(prefix, bits)
        parts = [cut(name, division, part) for part in range(division.count)]
        assert not any(overlap(one, other) for one, other in combinations(parts, 2))
        total = sum(part.count() for part in parts)
        assert total == (PART_SIZE * division.count if name == "list" else division.arena.count())

    @given(DIVISIONS, st.data(), st.integers(1, 600) | st.integers(1, 1 << 230))
    def test_a_server_may_be_given_the_lowest_identifiers_of_a_part_alone(
        self, name: str, division: Division, data: st.DataObject, most: int
    ) -> None:
        whole = cut(name, division, data.draw(st.integers(0, division.count - 1)))
        few = limited(whole, most)
        assert few.count() == min(most, whole.count())
        assert few.first == whole.first
        assert few.last in whole
        assert limited(whole, None) == whole


@given(DIVISIONS, st.data(), IDENTIFIERS)
def test_nobody_has_what_lies_beside_the_members_of_a_list(
    division: Division, data: st.DataObject, some: bytes
) -> None:
    part = cut("list", division, data.draw(st.integers(0, division.count - 1)))
    member = number(data.draw(st.sampled_from(list(_members(part)))))
    flipped = from_number(member ^ 1 << data.draw(st.integers(0, 255)))
    assert locator("list", division)(flipped) is None
    assert locator("list", division)(some) is None


def _members(part: IdSet) -> tuple[bytes, ...]:
    assert isinstance(part, IdList)
    return part.members


def test_members_of_lists_are_scattered_over_the_arena() -> None:
    """Else what a random ID hits depends on where it lies, and lists tell servers apart."""
    members = _members(cut("list", Division(ARENA_PREFIX, 10), 7))
    for place in range(PREFIX_LENGTH, KEY_NAME_LENGTH):
        counts = [sum(member[place] >> 4 == value for member in members) for value in range(16)]
        expected = PART_SIZE / 16
        assert sum((count - expected) ** 2 / expected for count in counts) < 60  # 6 sigma


def test_schemes_by_function_have_no_parts() -> None:
    without = {name for name, scheme in SCHEMES.items() if scheme.cut is None}
    assert without == {name for name, scheme in SCHEMES.items() if scheme.locate is None}
    assert without == SCHEMES.keys() - NAMES


def test_the_arena_of_every_farm_can_be_divided() -> None:
    assert len(ARENA_PREFIX) == PREFIX_LENGTH
    assert [enough_bits(servers) for servers in (0, 1, 16, 17, 1000)] == [10, 10, 10, 11, 16]
    assert Division(ARENA_PREFIX, enough_bits(1 << 30)).bits == MOST_BITS


@pytest.mark.parametrize(
    ("prefix", "bits", "words"),
    [(b"HOM", 10, "4 bytes"), (b"HOME", 21, "21 bits"), (b"HOME", -1, "-1 bits")],
)
def test_a_division_that_cannot_be_is_refused_in_words(
    prefix: bytes, bits: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Division(prefix, bits)
