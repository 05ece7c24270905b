"""Values of all kinds, and a key for each."""

from __future__ import annotations

from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from homing.shared.farm_state import keys, values
from homing.shared.id_sets import IdList, IdRange, MandatoryBits
from tests.strategies import some_sets

KINDS: dict[str, Any] = {
    keys.FARM: values.FarmValue,
    keys.MANAGER: values.ManagerPresence,
    keys.CALL: values.Call,
    keys.REASSIGN: values.Reassign,
    keys.NAMES: values.Names,
    keys.part(7): values.PartValue,
    keys.server("s1"): values.ServerPresence,
    keys.assignment("s1"): values.Assignment,
    keys.balancer("b1"): values.BalancerPresence,
    keys.wish("s1"): values.Wish,
    keys.record("s1"): values.Record,
    keys.refusal("s1"): values.Refusal,
    keys.page(7, "s1", 0): values.Exceptions,
}
"""By a key, the class of its value."""

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(1 << 63), 1 << 300),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in (IdRange, MandatoryBits, IdList):
        return some_sets()
    if attrs.has(kind):
        return st.builds(
            kind, **{name: values_of(each) for name, each in get_type_hints(kind).items()}
        )
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if get_origin(kind) is tuple:
        return st.lists(values_of(get_args(kind)[0]), max_size=3).map(tuple)
    assert get_origin(kind) in (Union, UnionType), kind
    return st.one_of([values_of(each) for each in get_args(kind)])


def anything() -> st.SearchStrategy[tuple[str, Any]]:
    """A key and a value for it."""
    return st.sampled_from(sorted(KINDS)).flatmap(
        lambda key: st.tuples(st.just(key), values_of(KINDS[key]))
    )
