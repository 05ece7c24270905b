"""The new owner of a part gives out nothing that still lives at the old one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import IdList, IdRange, IdSet
from homing.shared.part import Without
from homing.shared.record import Record
from tests.assigning import free
from tests.id_set_oracle import listed
from tests.strategies import always, some_small_sets, to_bytes


@given(some_small_sets(), st.data(), st.sampled_from([32, 16]))
def test_a_part_lacks_its_exceptions_and_nothing_else(
    id_set: IdSet, data: st.DataObject, length: int
) -> None:
    members = [to_bytes(n) for n in listed(id_set) or []]
    kept = data.draw(st.sets(st.sampled_from(members), max_size=6))
    part = Without(id_set, kept | {bytes(31) + b"\1"})
    left = [one for one in members if one not in part.identifiers]
    assert [one for one in members if one in part] == left
    end = bytes(32 - length)
    assert part.count(length) == sum(one.endswith(end) for one in left)


def test_no_exception_is_drawn_neither_an_id_nor_a_key_name() -> None:
    names = [bytes([n]) * 16 for n in range(4)]
    part = Without(IdList(names), frozenset(names[:3]))
    luck = random.Random(1)
    assert {part.draw(luck.randrange, free) for _ in range(20)} == {names[3] + bytes(16)}
    assert {part.draw(luck.randrange, free, 16) for _ in range(20)} == {names[3]}
    with pytest.raises(NoFreeIdentifier):
        part.draw(always(0), lambda one: one[:1] == b"\3")
    with pytest.raises(NoFreeIdentifier):
        Without(IdList(names), frozenset(names)).draw(always(0), free)


def test_a_record_has_such_parts_as_any_others() -> None:
    part = Without(IdRange.of_prefix(b"HOME"), frozenset([b"HOME" + bytes(28)]))
    record = Record((part,))
    assert record.count() == (1 << 224) - 1
    assert record.describe().endswith("without 1 identifiers in use")
