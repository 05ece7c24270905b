"""Values on their way into the registry and out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.farm_state.codec import VERSION, decode, encode
from homing.shared.farm_state.values import (
    Call,
    FarmValue,
    PartValue,
    ServerFacts,
    ServerPresence,
    Wish,
)
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import LARGEST_VALUE
from tests.shared.farm_state.samples import KINDS, anything


@given(anything())
def test_whatever_is_written_is_read_as_it_was(sample: tuple[str, Any]) -> None:
    key, value = sample
    data = encode(value)
    assert decode(KINDS[key], data) == value
    assert encode(decode(KINDS[key], data)) == data


def test_what_is_as_it_is_by_default_takes_no_space() -> None:
    assert encode(PartValue("s1")) == b'{"owner":"s1","v":1}'
    moving = PartValue("s1", True, PartStep.LEAVING, "s2", Way.SCHEDULED, 1.5)
    assert json.loads(encode(moving)) == {
        "v": 1,
        "owner": "s1",
        "drawn": True,
        "step": "leaving",
        "next": "s2",
        "how": "scheduled",
        "at": 1.5,
    }


@pytest.mark.parametrize(
    ("kind", "data", "complaint"),
    [
        (Call, b"", "not JSON"),
        (Call, b"\xff", "not JSON"),
        (Call, b"[" * 100_000, "not JSON"),
        (Call, b'{"v":1,"number":' + b"9" * 5000 + b"}", "not JSON"),
        (Call, b"[1]", "its version is None"),
        (Call, b'"v"', "its version is None"),
        (Call, b'{"number":1}', "its version is None; this is version 1"),
        (Call, b'{"v":2,"number":1}', "its version is 2; this is version 1"),
        (Call, b'{"v":["' + b"x" * 1000 + b'"],"number":1}', "its version is"),
        (Call, b'{"v":1}', "no Call: .*number"),
        (Call, b'{"v":1,"number":"1"}', "no Call: '1' is no int"),
        (Call, b'{"v":1,"number":1.0}', "no Call: 1.0 is no int"),
        (Call, b'{"v":1,"number":true}', "no Call: True is no int"),
        (Call, b'{"v":1,"number":null}', "no Call: None is no int"),
        (PartValue, b'{"v":1,"owner":7}', "no PartValue: 7 is no str"),
        (PartValue, b'{"v":1,"owner":"\\ud800"}', "no PartValue: .*surrogates"),
        (PartValue, b'{"v":1,"owner":"a","drawn":1}', "no PartValue: 1 is no bool"),
        (PartValue, b'{"v":1,"owner":"a","step":"elsewhere"}', "no PartValue: 'elsewhere'"),
        (PartValue, b'{"v":1,"owner":"a","how":null}', "no PartValue: None"),
        (PartValue, b'{"v":1,"owner":"a","at":NaN}', "no PartValue: .*not finite"),
        (PartValue, b'{"v":1,"owner":"a","at":1e999}', "no PartValue: .*not finite"),
        (FarmValue, b'{"v":1,"scheme":"range","spare":-Infinity}', "no FarmValue: .*not finite"),
        (Wish, b'{"v":1,"facts":[]}', "no Wish: "),
        (Wish, b'{"v":1,"facts":{"address":"a","ids":[{"range":["00"]}]}}', "no Wish: range"),
        (Wish, b'{"v":1,"facts":{"address":"a","ids":7}}', "no Wish: "),
        (ServerPresence, b'{"v":1,"facts":null,"incarnation":"i"}', "no ServerPresence: "),
    ],
)
def test_what_is_not_understood_is_not_guessed_at(kind: Any, data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        decode(kind, data)
    text = str(raised.value)
    assert text.startswith("it")
    assert "\n" not in text
    assert len(text) < 300


def test_what_is_too_large_is_not_even_looked_at() -> None:
    data = b'{"v":1,"number":1' + b" " * LARGEST_VALUE + b"}"
    with pytest.raises(ValueError, match=f"more than {LARGEST_VALUE}"):
        decode(Call, data)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_number_is_written_that_nobody_would_read(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Wish(ServerFacts("unix:s1"), weight=number))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KINDS)), st.binary() | JSON.map(lambda one: json.dumps(one).encode()))
def test_any_bytes_are_a_value_or_one_clear_error(key: str, data: bytes) -> None:
    _decoded_or_refused(KINDS[key], data)


@given(anything(), st.text(max_size=8), JSON)
def test_a_value_with_anything_in_a_field_is_a_value_or_one_clear_error(
    sample: tuple[str, Any], field: str, content: Any
) -> None:
    key, value = sample
    data = json.loads(encode(value))
    names = sorted(data.keys() - {"v"}) or [field]
    data[names[len(field) % len(names)]] = content
    assert data["v"] == VERSION
    _decoded_or_refused(KINDS[key], json.dumps(data).encode())


def _decoded_or_refused(kind: Any, data: bytes) -> None:
    try:
        value = decode(kind, data)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert type(value) is kind
        assert decode(kind, encode(value)) == value
