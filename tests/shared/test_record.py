"""Record 132: several parts that act as one."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes.hash import Rendezvous
from tests.assigning import by_function, free, members
from tests.id_set_oracle import common, listed, to_int
from tests.strategies import HIGHEST, IDENTIFIERS, always, small_sets, to_bytes, universes


@st.composite
def disjoint_small_sets(draw: st.DrawFn) -> tuple[IdSet, ...]:
    universe = draw(universes())
    kept: list[IdSet] = []
    for id_set in draw(st.lists(small_sets(universe), max_size=5)):
        if all(common(id_set, other) is None for other in kept):
            kept.append(id_set)
    return tuple(kept)


SETS = disjoint_small_sets()


def numbers(sets: tuple[IdSet, ...]) -> list[int]:
    return sorted(chain.from_iterable(listed(id_set) or [] for id_set in sets))


@given(SETS, st.sampled_from([32, 16]))
def test_a_record_counts_the_identifiers_of_all_its_parts(
    sets: tuple[IdSet, ...], length: int
) -> None:
    tail = 8 * (32 - length)
    assert Record(sets).count(length) == sum(n % (1 << tail) == 0 for n in numbers(sets))


@given(SETS, IDENTIFIERS)
def test_a_server_knows_its_own_identifiers(sets: tuple[IdSet, ...], other: bytes) -> None:
    record, own = Record(sets), set(numbers(sets))
    assert all(to_bytes(n) in record for n in own)
    assert (other in record) == (to_int(other) in own)


SEVERAL: tuple[IdSet, ...] = (
    IdRange.of_numbers(1000, 1029),
    MandatoryBits(to_bytes(HIGHEST ^ 0b1111), to_bytes(1 << 200)),
    IdList([bytes([n]) * 32 for n in range(1, 15)]),
)


def test_drawing_from_a_record_is_uniform_over_all_its_parts() -> None:
    record, luck = Record(SEVERAL), random.Random(1)
    drawn = Counter(record.draw(luck.randrange, free) for _ in range(6000))
    assert drawn.keys() == set(members(record))
    assert len(drawn) == 60
    # 59 degrees of freedom, 6 sigma
    assert sum((seen - 100) ** 2 / 100 for seen in drawn.values()) < 124


@given(SETS, st.data(), st.randoms(use_true_random=False))
def test_a_record_gives_out_its_last_free_identifier_and_then_says_it_has_none(
    sets: tuple[IdSet, ...], data: st.DataObject, luck: random.Random
) -> None:
    record, taken = Record(sets), {to_bytes(n) for n in numbers(sets)}
    if taken:
        last = data.draw(st.sampled_from(sorted(taken)))
        assert record.draw(luck.randrange, (taken - {last}).__contains__) == last
    with pytest.raises(NoFreeIdentifier):
        record.draw(luck.randrange, taken.__contains__)


def test_a_record_may_have_sets_and_a_function() -> None:
    (by_hash,) = by_function(Rendezvous(["s1"]), ["s1"])["s1"].parts
    one_id: tuple[Part, ...] = (IdList([b"x"]), by_hash)
    record = Record(one_id)
    assert record.count() == (1 << 256) + 1
    assert len(record.draw(random.Random(1).randrange, free, 16)) == 16
    assert record.draw(always(0), free) == b"x".ljust(32, b"\0")
    assert record.describe() == f"{one_id[0].describe()}\nby the scheme test"
