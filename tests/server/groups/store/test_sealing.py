"""What lies in a store, tampered with in a real one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.server.groups.store import Sealed
from homing.shared.errors import HomingError
from tests.server.groups.store.running import HOUR, NAME, VALUE, Store, logged, opened

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))

ours = settings(max_examples=60)
anything = st.binary(max_size=200)


class Group:
    """A sealed store, what lies below it, and its clock."""

    def __init__(self, below: Store, path: Path) -> None:
        self.below = below
        self.path = path
        self.now = 1_000_000.0

    def sealed(self, key: bytes = KEY, group: str = "g") -> Store:
        """As one more server of the group sees it."""
        return Store(Sealed(self.below.itself, key, group, now=lambda: self.now))

    def names(self) -> set[bytes]:
        """The names that the store shows."""
        with closing(sqlite3.connect(self.path)) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM sessions")}

    def stored_name(self, name: bytes) -> bytes:
        """The name under which the store keeps what is put now as `name`."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM sessions")
        self.sealed().put(name)
        (stored,) = self.names()
        return stored

    def raw(self, name: bytes) -> bytes:
        """What lies in the store."""
        value = self.below.get(name)
        assert value is not None
        return value


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    path = tmp_path_factory.mktemp("sealing") / "sessions.db"
    with opened(f"sqlite:{path}") as below:
        yield Group(below, path)


@ours
@given(anything, anything)
def test_servers_of_a_group_share(group: Group, name: bytes, value: bytes) -> None:
    group.sealed().put(name, value)
    assert group.sealed().get(name) == value


@ours
@given(st.binary(min_size=8, max_size=32), st.binary(min_size=8, max_size=200))
def test_the_store_shows_neither_names_nor_values(group: Group, name: bytes, value: bytes) -> None:
    stored = group.stored_name(name)
    assert len(stored) == 32
    group.sealed().put(name, value)
    first = group.raw(stored)
    group.sealed().put(name, value)
    assert group.raw(stored) != first, "never twice the same"
    assert len(first) == len(value) + 37
    assert name not in stored + first
    assert value not in stored + first
    assert KEY not in stored + first


@ours
@given(st.data())
def test_a_changed_byte_is_a_miss(group: Group, data: st.DataObject) -> None:
    stored = group.stored_name(NAME)
    raw = bytearray(group.raw(stored))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    group.below.put(stored, bytes(raw))
    assert group.sealed().get() is None


def test_every_single_bit_counts(group: Group) -> None:
    stored = group.stored_name(NAME)
    raw = group.raw(stored)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1 << position % 8
        group.below.put(stored, bytes(changed))
        assert group.sealed().get() is None, position
    group.below.put(stored, raw)
    assert group.sealed().get() == VALUE


def test_every_truncation_and_every_addition_is_a_miss(group: Group) -> None:
    stored = group.stored_name(NAME)
    raw = group.raw(stored)
    for wrong in [raw[:length] for length in range(len(raw))] + [raw + b"\0", b"\0" + raw]:
        group.below.put(stored, wrong)
        assert group.sealed().get() is None


@ours
@given(anything)
def test_foreign_content_is_a_miss(group: Group, content: bytes) -> None:
    stored = group.stored_name(NAME)
    for start in (b"", b"\x01"):
        group.below.put(stored, start + content)
        assert group.sealed().get() is None


@ours
@given(anything, anything)
def test_a_value_of_another_name_is_a_miss(group: Group, one: bytes, other: bytes) -> None:
    value = group.raw(group.stored_name(one))
    stored = group.stored_name(other)
    group.below.put(stored, value)
    assert group.sealed().get(other) == (VALUE if one == other else None)


@pytest.mark.parametrize(
    ("key", "name"), [(OTHER_KEY, "g"), (KEY, "other"), (KEY, ""), (KEY, "gg"), (OTHER_KEY, "x")]
)
def test_a_value_of_another_group_is_a_miss(group: Group, key: bytes, name: str) -> None:
    stored = group.stored_name(NAME)
    foreign = group.sealed(key, name)
    assert foreign.get() is None

    before = group.names()
    foreign.put()
    (theirs,) = group.names() - before or {stored}
    group.below.put(stored, group.raw(theirs))
    assert group.sealed().get() is None


def test_a_value_put_back_after_it_expired_is_a_miss(group: Group) -> None:
    with logged() as lines:
        stored = group.stored_name(NAME)
        group.sealed().put(lifetime=10)
        raw = group.raw(stored)
        group.now += 9.999
        assert group.sealed().get() == VALUE
        group.now += 0.002
        group.below.put(stored, raw, HOUR)
        assert group.sealed().get() is None
        group.now += 1e9
        assert group.sealed().get() is None
    assert lines == [], "an expired value is nothing to report"


@pytest.mark.parametrize("lifetime", [0.0, -1.0, float("nan")])
def test_what_has_no_time_to_live_is_not_kept(group: Group, lifetime: float) -> None:
    group.sealed().put(b"short", lifetime=lifetime)
    assert group.sealed().get(b"short") is None


def test_an_endless_lifetime_and_a_large_value_raise_nothing(group: Group) -> None:
    group.sealed().put(b"endless", lifetime=float("inf"))
    assert group.sealed().get(b"endless") == VALUE
    group.sealed().put(b"large", bytes(100_000))
    assert group.sealed().get(b"large") is None


def test_refusals_are_logged_once_and_tell_nothing(group: Group) -> None:
    stored = group.stored_name(NAME)
    sealed = group.sealed()
    with logged() as lines:
        group.below.put(stored, b"wrong content")
        for _ in range(100):
            assert sealed.get() is None
    assert len(lines) == 1
    assert "group 'g'" in lines[0]
    assert "wrong content" not in lines[0]


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused_and_not_shown(group: Group, length: int) -> None:
    with pytest.raises(HomingError, match=f"32 bytes, not {length}") as caught:
        group.sealed(b"K" * length)
    assert "KK" not in str(caught.value)


def test_nothing_secret_in_repr(group: Group) -> None:
    sealed = group.sealed().itself
    assert repr(sealed) == str(sealed) == "<session store of group 'g'>"
    assert repr(KEY)[2:-1] not in repr(group.below.itself)
