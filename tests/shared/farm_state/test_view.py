"""A view of the farm's state, by whatever the registry says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import (
    Call,
    Exceptions,
    FarmValue,
    ManagerPresence,
    PartValue,
    ServerFacts,
    Wish,
)
from homing.shared.farm_state.view import Known, View
from homing.shared.registry.interface import Batch, Item
from homing.shared.registry.memory import MemoryRegistry
from tests.shared.farm_state.samples import KINDS, anything


def batch(revision: int, values: dict[str, Any], *deletes: str, is_whole: bool = False) -> Batch:
    puts = {
        key: Item(value if isinstance(value, bytes) else encode(value), revision)
        for key, value in values.items()
    }
    return Batch(revision, puts, frozenset(deletes), is_whole)


class Reported:
    """A view, and the lines that it has reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.view = View(self.lines.append)


FARM = FarmValue("range", "484f4d45", 10)


def test_what_the_registry_says_is_found_by_folder_and_name() -> None:
    view = View()
    wish = Wish(ServerFacts("unix:s1"))
    changed = view.apply(
        batch(5, {"farm": FARM, "parts/0000007": PartValue("s1"), "wishes/s1": wish})
    )
    assert changed == {"farm", "parts/0000007", "wishes/s1"}
    assert view.farm == FARM
    assert view.parts == {7: Known(PartValue("s1"), 5)}
    assert view.wishes["s1"].value == wish
    assert view.revision == view.routing == 5
    assert view.revision_of("farm") == 5
    assert view.revision_of("manager") == 0
    view.apply(batch(6, {}, "parts/0000007", "farm", "never/was"))
    assert view.parts == {}
    assert view.farm is None
    assert view.revision == 6


def test_a_whole_batch_takes_the_place_of_all_there_was() -> None:
    view = View()
    view.apply(batch(5, {"farm": FARM, "parts/0000007": PartValue("s1")}))
    changed = view.apply(batch(9, {"parts/0000008": PartValue("s2")}, is_whole=True))
    assert changed == {"farm", "parts/0000007", "parts/0000008"}
    assert list(view.parts) == [8]
    assert view.farm is None


def test_routing_follows_only_what_the_table_depends_on() -> None:
    view = View()
    view.apply(batch(5, {"farm": FARM}))
    view.apply(batch(6, {"manager": ManagerPresence("b1", "x"), "call": Call(1)}))
    assert (view.revision, view.routing) == (6, 5)
    view.apply(batch(7, {keys.page(7, "s1", 0): Exceptions(("ab",))}))
    assert view.routing == 7
    view.apply(batch(8, {}, keys.page(7, "s1", 0)))
    assert view.routing == 8
    view.apply(batch(9, {"manager": ManagerPresence("b1", "x"), "farm": FARM}, is_whole=True))
    assert view.routing == 9


def test_pages_of_exceptions_are_found_by_their_part() -> None:
    view = View()
    pages = {keys.page(7, "s1", 0): 1, keys.page(7, "s-2.x", 3): 2, keys.page(8, "s1", 0): 3}
    view.apply(batch(5, {key: Exceptions((f"{at:02x}",)) for key, at in pages.items()}))
    found = {server: page.value.identifiers for server, page in view.pages(7)}
    assert found == {"s1": ("01",), "s-2.x": ("02",)}


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("servers/s1", b'{"v":2}', "its version is 2"),
        ("servers/s1", b"x" * (1 << 20) + b"x", "more than"),
        ("farm", b"{", "it is not JSON"),
        ("wishes/s1", b'{"v":1}', "it is no Wish"),
        ("parts/0000007", b'{"v":1,"owner":null}', "it is no PartValue"),
        *(
            (key, b"{}", "no such key is known")
            for key in ("later", "later/x", "farm/x", "parts", "parts/", "apply/x", "_put/x", "/")
        ),
        *(
            (key, encode(PartValue("s1")), "not of the form")
            for key in ("parts/7", "parts/x", "parts/-000007", "parts/00000007", "parts/000000७")
        ),
        ("parts/9999999", encode(PartValue("s1")), "no part of so high a number"),
        *(
            (f"wishes/{name}", encode(Wish(ServerFacts("unix:s1"))), "not of the form")
            for name in ("a/b", "a b", "-a", "ä", "a" * 64, "a\n")
        ),
        *(
            (f"exceptions/{rest}", encode(Exceptions(())), "not of the form")
            for rest in ("7/s1/0", "0000007/s1", "0000007/s1/0000/x", "0000007//0000", "x")
        ),
    ],
)
def test_what_is_wrong_is_ignored_with_one_clear_line_and_harms_nothing_else(
    key: str, value: bytes, complaint: str
) -> None:
    good = {"parts/0000007": PartValue("s1"), "farm": FARM, "wishes/s2": Wish(ServerFacts("a"))}
    good.pop(key, None)
    expected = View()
    expected.apply(batch(5, good))
    reported = Reported()
    reported.view.apply(batch(5, good))
    reported.view.apply(batch(6, {key: value}))
    assert len(reported.lines) == 1
    assert complaint in reported.lines[0]
    assert repr(key[:80]) in reported.lines[0]
    assert "\n" not in reported.lines[0]
    assert reported.view.parts == expected.parts
    assert reported.view.wishes == expected.wishes
    assert reported.view.farm == expected.farm
    assert reported.view.revision_of(key) == 6, "a transaction can still remove it"
    reported.view.apply(batch(7, {}, key))
    assert len(reported.lines) == 1
    assert reported.view.parts == expected.parts


def test_a_good_value_that_becomes_a_bad_one_is_no_longer_believed() -> None:
    reported = Reported()
    reported.view.apply(batch(5, {"parts/0000007": PartValue("s1")}))
    reported.view.apply(batch(6, {"parts/0000007": b"?"}))
    assert reported.view.parts == {}
    reported.view.apply(batch(7, {"parts/0000007": PartValue("s2")}))
    assert reported.view.parts[7].value.owner == "s2"
    assert len(reported.lines) == 1


def test_a_change_happens_only_if_nobody_was_faster() -> None:
    registry = MemoryRegistry(lambda: 0.0)
    one, other = View(), View()

    def follow() -> None:
        for view in (one, other):
            if news := registry.changes(view.revision):
                view.apply(news)

    follow()
    assert registry.commit(one.change({"parts/0000007": PartValue("s1"), "farm": FARM}))
    assert registry.commit(other.change({"parts/0000007": PartValue("s2")})) is None
    follow()
    assert other.parts[7].value == PartValue("s1")
    stale = other.change({"parts/0000007": None}, "farm")
    assert registry.commit(other.change({"farm": FARM}))
    assert registry.commit(stale) is None
    follow()
    assert registry.commit(other.change({"parts/0000007": None}, "farm"))
    follow()
    assert one.parts == {}


CHANGES = st.lists(st.tuples(anything(), st.booleans()), max_size=12)


@given(CHANGES, st.integers(0, 12))
def test_changes_lead_to_the_same_view_as_all_at_once(
    changes: list[tuple[tuple[str, Any], bool]], whole_at: int
) -> None:
    registry = MemoryRegistry(lambda: 0.0)
    reported = Reported()
    view = reported.view
    for number, ((key, value), is_deleted) in enumerate(changes):
        if number == whole_at:
            view.apply(registry.read())
        registry.commit(view.change({key: None if is_deleted else value}))
        if news := registry.changes(view.revision):
            view.apply(news)
    if news := registry.changes(view.revision):
        view.apply(news)
    whole = View()
    whole.apply(registry.read())
    assert reported.lines == []
    assert view.revision == whole.revision == registry.revision
    for key in KINDS:
        assert view.revision_of(key) == whole.revision_of(key)
        folder, _, name = key.partition("/")
        if not name:
            assert view.single(key) == whole.single(key)
        else:
            assert getattr(view, folder) == getattr(whole, folder)


@given(st.text(), st.text())
def test_any_key_is_known_and_well_formed_or_has_a_fault(folder: str, name: str) -> None:
    for key in (folder, f"{folder}/{name}", f"parts/{name}", f"servers/{name}"):
        if keys.fault(key) is None:
            assert keys.kind(key) is not None
            assert key.isascii()


@pytest.mark.parametrize("key", KINDS)
def test_every_kind_of_value_has_its_key(key: str) -> None:
    assert keys.kind(key) is KINDS[key]
    assert keys.fault(key) is None


def test_a_pages_part_and_server_are_read_from_its_key() -> None:
    assert keys.part_of_page(keys.page(7, "s1", 3)) == (7, "s1")
    assert keys.name("servers/s1") == "s1"
