"""Record 132: several sets that act as one."""

from __future__ import annotations

import random
from itertools import chain, combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from homing.shared.errors import NoFreeIdentifier, OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet
from homing.shared.record import Record
from tests.id_set_oracle import common, listed, to_int
from tests.strategies import IDENTIFIERS, always, any_sets, small_sets, to_bytes, universes


@st.composite
def disjoint_small_sets(draw: st.DrawFn) -> tuple[IdSet, ...]:
    universe = draw(universes())
    kept: list[IdSet] = []
    for id_set in draw(st.lists(small_sets(universe), max_size=5)):
        if all(common(id_set, other) is None for other in kept):
            kept.append(id_set)
    return tuple(kept)


RECORDS = st.builds(Record, disjoint_small_sets(), st.integers(0, 1 << 40))


def numbers(record: Record) -> list[int]:
    return sorted(chain.from_iterable(listed(id_set) or [] for id_set in record.sets))


@given(RECORDS, st.sampled_from([32, 16]))
def test_a_record_numbers_the_identifiers_of_all_its_sets_once(record: Record, length: int) -> None:
    tail = 8 * (32 - length)
    expected = [to_bytes(n)[:length] for n in numbers(record) if n % (1 << tail) == 0]
    assert record.count(length) == len(expected)
    assert sorted(record.nth(i, length) for i in range(len(expected))) == expected
    with pytest.raises(IndexError):
        record.nth(len(expected), length)


@given(RECORDS, IDENTIFIERS)
def test_a_server_knows_its_own_identifiers(record: Record, other: bytes) -> None:
    members = set(numbers(record))
    assert all(to_bytes(n) in record for n in members)
    assert (other in record) == (to_int(other) in members)


@given(RECORDS)
def test_drawing_from_a_record_is_uniform_over_all_its_sets(record: Record) -> None:
    drawn = [record.draw(always(i), lambda _: False) for i in range(record.count())]
    assert sorted(map(to_int, drawn)) == numbers(record)


@given(RECORDS, st.data(), st.randoms(use_true_random=False))
def test_a_record_gives_out_its_last_free_identifier_and_then_says_it_has_none(
    record: Record, data: st.DataObject, luck: random.Random
) -> None:
    taken = {to_bytes(n) for n in numbers(record)}
    if taken:
        last = data.draw(st.sampled_from(sorted(taken)))
        assert record.draw(luck.randrange, (taken - {last}).__contains__) == last
    with pytest.raises(NoFreeIdentifier):
        record.draw(luck.randrange, taken.__contains__)


@given(RECORDS)
def test_a_record_survives_the_way_to_its_server(record: Record) -> None:
    assert Record.from_data(record.to_data()) == record


@given(st.data())
def test_a_record_that_could_give_one_identifier_out_twice_is_refused(
    data: st.DataObject,
) -> None:
    universe = data.draw(universes())
    sets = data.draw(st.lists(any_sets(universe), min_size=2, max_size=4))
    pairs = list(combinations(sets, 2))
    assume(all(listed(one) or listed(other) for one, other in pairs))
    overlaps = [ends for one, other in pairs if (ends := common(one, other))]
    if not overlaps:
        Record(tuple(sets))
        return
    with pytest.raises(OverlapError) as caught:
        Record(tuple(sets))
    assert len(caught.value.faults) == len(overlaps)
    for fault, (first, last) in zip(caught.value.faults, overlaps, strict=True):
        assert to_bytes(first).hex() in fault
        assert to_bytes(last).hex() in fault


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"epoch": 1},
        {"epoch": 1, "sets": [{"prefix": "zz"}]},
        {"epoch": 1, "sets": [{}]},
        {"sets": []},
    ],
)
def test_a_damaged_record_is_refused_with_the_error_that_is_promised(
    data: dict[str, object],
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Record.from_data(data)


def test_a_large_set_beside_a_small_one_does_not_drown_it() -> None:
    record = Record((IdRange.of_prefix(b"a"), IdList([b"b"])))
    count = record.count()
    assert count == 256**31 + 1
    assert record.draw(always(count - 1), lambda _: False) == b"b".ljust(32, b"\0")
