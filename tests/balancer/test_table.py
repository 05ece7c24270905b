"""Table 130 against a linear scan."""

from __future__ import annotations

import random
from itertools import combinations, permutations
from typing import ClassVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.balancer.table import Entry, Table
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes.hash import Rendezvous
from tests.assigning import by_function, owner
from tests.id_set_oracle import common, listed, to_int
from tests.strategies import (
    HIGHEST,
    Universe,
    any_sets,
    to_bytes,
    universes,
)


def comparable(one: IdSet, other: IdSet) -> bool:
    """Whether brute force can compare the two."""
    ranges = isinstance(one, IdRange) and isinstance(other, IdRange)
    return ranges or bool(listed(one) or listed(other))


@st.composite
def disjoint(draw: st.DrawFn) -> tuple[Universe, list[Entry]]:
    """Entries of three servers, sets of all kinds that do not overlap, and where they are."""
    universe = draw(universes())
    owners = st.sampled_from(["s1", "s2", "s3"])
    kept: list[Entry] = []
    for id_set in draw(st.lists(any_sets(universe), max_size=10)):
        if all(comparable(id_set, one) and not common(id_set, one) for one in sets_of(kept)):
            kept.append(Entry(draw(owners), id_set))
    return universe, kept


def sets_of(entries: list[Entry]) -> list[IdSet]:
    return [entry.part for entry in entries if isinstance(entry.part, IdSet)]


def probes(universe: Universe, entries: list[Entry]) -> st.SearchStrategy[bytes]:
    """Identifiers in, beside and far from the entries."""
    ends = [to_int(end) for one in sets_of(entries) for end in (one.first, one.last)]
    near = [(end + by) % (1 << 256) for end in ends for by in (-1, 0, 1)]
    values = st.sampled_from([0, HIGHEST, *near]) | st.builds(universe.at, universe.smalls)
    whole = (values | st.integers(0, HIGHEST)).map(to_bytes)
    return whole | st.builds(lambda identifier: identifier[:16], whole) | st.binary(max_size=32)


def scan(entries: list[Entry], identifier: bytes) -> Entry | None:
    return next((entry for entry in entries if identifier in entry.part), None)


class TestLookUp:
    @given(st.data(), disjoint())
    def test_every_identifier_leads_to_the_server_that_may_have_given_it_out(
        self, data: st.DataObject, farm: tuple[Universe, list[Entry]]
    ) -> None:
        universe, entries = farm
        table = Table(tuple(entries), "default")
        for identifier in data.draw(st.lists(probes(universe, entries), min_size=1, max_size=20)):
            entry = scan(entries, identifier)
            assert table.find(identifier) == entry
            assert owner(table, identifier) == (entry.owner if entry else "default")

    @given(st.data(), disjoint())
    def test_the_order_of_farm_toml_changes_no_route(
        self, data: st.DataObject, farm: tuple[Universe, list[Entry]]
    ) -> None:
        universe, entries = farm
        shuffled = Table(tuple(data.draw(st.permutations(entries))))
        for identifier in data.draw(st.lists(probes(universe, entries), min_size=1, max_size=20)):
            assert shuffled.find(identifier) == Table(tuple(entries)).find(identifier)

    @given(disjoint(), st.randoms(use_true_random=False))
    def test_what_a_server_draws_comes_back_to_it(
        self, farm: tuple[Universe, list[Entry]], luck: random.Random
    ) -> None:
        _, entries = farm
        records: dict[str, Record] = {}
        for name in ("s1", "s2", "s3"):
            records[name] = Record(tuple(sets_of([e for e in entries if e.owner == name])))
        table = Table.of_records(records, epoch=5)
        assert table.epoch == 5
        for name, record in records.items():
            for length in (32, 16):
                if record.count(length):
                    drawn = record.draw(luck.randrange, lambda _: False, length)
                    assert owner(table, drawn) == name

    def test_all_kinds_of_sets_live_in_one_table(self) -> None:
        table = Table(
            (
                Entry("range", IdRange.of_prefix(b"a")),
                Entry("list", IdList([b"b", b"c"])),
                Entry("bits", MandatoryBits(b"\xff\x01", b"d\x01")),
                Entry("other bits", MandatoryBits(b"\xff\x01", b"d\x00")),
                Entry("other mask", MandatoryBits(b"\xff", b"e")),
            ),
            "default",
        )
        expected = {
            b"a" + b"\xff" * 31: "range",
            b"b": "list",
            b"c" + bytes(31): "list",
            b"c" + bytes(30) + b"\1": "default",
            b"d\x03" + bytes(30): "bits",
            b"d\x02": "other bits",
            b"e" * 32: "other mask",
            b"f" * 32: "default",
        }
        assert {identifier: owner(table, identifier) for identifier in expected} == expected

    def test_an_empty_table_sends_everything_to_the_default_server(self) -> None:
        assert owner(Table((), "default"), b"x") == "default"
        assert Table((), "default").find(b"x") is None
        assert owner(Table(), b"x") is None

    def test_tables_with_the_same_lines_are_equal(self) -> None:
        lines = (Entry("s1", IdRange.of_prefix(b"a")),)
        assert Table(lines) == Table(lines)
        assert Table(lines) != Table(lines, epoch=1)


@st.composite
def overlapping(draw: st.DrawFn) -> list[Entry]:
    """Up to six entries that often overlap, each of another server."""
    universe = draw(universes())
    kept: list[IdSet] = []
    for id_set in draw(st.lists(any_sets(universe), min_size=2, max_size=6)):
        if all(comparable(id_set, other) for other in kept):
            kept.append(id_set)
    return [Entry(f"s{index}", id_set) for index, id_set in enumerate(kept)]


def faults_of(entries: list[Entry]) -> tuple[str, ...]:
    try:
        Table(tuple(entries))
    except OverlapError as error:
        return error.faults
    return ()


def expected_faults(entries: list[Entry]) -> dict[frozenset[str], str]:
    """Every pair of servers that overlap, and where, by brute force."""
    found = {}
    both = zip(combinations(entries, 2), combinations(sets_of(entries), 2), strict=True)
    for (one, other), sets in both:
        ends = common(*sets)
        if ends:
            first, last = (to_bytes(end).hex() for end in ends)
            place = first if first == last else f"{first} to {last}"
            found[frozenset((one.owner, other.owner))] = place
    return found


class TestOverlap:
    @given(overlapping())
    def test_servers_that_could_give_out_the_same_identifier_are_refused_and_no_others(
        self, entries: list[Entry]
    ) -> None:
        assert bool(faults_of(entries)) == bool(expected_faults(entries))

    @given(overlapping())
    def test_every_fault_names_two_servers_that_overlap_and_where(
        self, entries: list[Entry]
    ) -> None:
        true = {
            f'the ids of "{one}" and "{other}" overlap: {place}'
            for servers, place in expected_faults(entries).items()
            for one, other in (sorted(servers), sorted(servers, reverse=True))
        }
        assert set(faults_of(entries)) <= true

    @settings(max_examples=300)
    @given(overlapping())
    def test_every_server_that_overlaps_another_is_named(self, entries: list[Entry]) -> None:
        named = " ".join(faults_of(entries))
        for servers in expected_faults(entries):
            assert all(f'"{server}"' in named for server in servers)

    def test_a_range_inside_another_is_named_also_behind_a_smaller_one(self) -> None:
        entries = [
            Entry("wide", IdRange.of_prefix(b"a")),
            Entry("narrow", IdRange.of_prefix(b"aa")),
            Entry("behind", IdRange.of_prefix(b"ab")),
        ]
        for order in permutations(entries):
            assert '"behind"' in " ".join(faults_of(list(order)))

    def test_a_list_inside_a_range_that_contains_another_range_is_named(self) -> None:
        entries = [
            Entry("wide", IdRange.of_prefix(b"a")),
            Entry("narrow", IdRange.of_prefix(b"aa")),
            Entry("list", IdList([b"az"])),
        ]
        assert '"list"' in " ".join(faults_of(entries))

    def test_a_server_that_overlaps_itself_is_refused(self) -> None:
        entry = Entry("s1", IdRange.of_prefix(b"a"))
        assert len(faults_of([entry, entry])) == 1

    def test_a_farm_full_of_overlaps_gets_a_message_that_can_be_read(self) -> None:
        entries = [Entry(f"s{n}", IdRange.of_prefix(b"a")) for n in range(500)]
        assert len(faults_of(entries)) == 20

    def test_two_long_lists_that_overlap_are_compared_once(self) -> None:
        members = [n.to_bytes(32, "big") for n in range(600)]
        lists = [_CountingList(members), _CountingList(members)]
        faults = faults_of([Entry(f"s{n}", each) for n, each in enumerate(lists)])
        assert len(faults) == 1
        assert _CountingList.questions <= 10 * len(members)


class _CountingList(IdList):
    """A list that counts how often it is asked for a member."""

    questions: ClassVar[int] = 0

    def __contains__(self, identifier: bytes) -> bool:
        _CountingList.questions += 1
        return super().__contains__(identifier)


def test_a_function_is_asked_for_what_no_set_lists() -> None:
    """Else who brings own IDs to a farm of the scheme hash would never see them again."""
    records = by_function(Rendezvous(["a", "b"]), ["a", "b"])
    table = Table.of_records(records | {"c": Record((IdRange.of_prefix(b"SRVA"),))})
    assert table.in_words() == "table 130 has 3 entries"
    assert owner(table, b"SRVA".ljust(32)) == "c"
    found = table.find(b"other".ljust(32))
    assert found is not None
    assert b"other".ljust(32) in found.part
    assert Table.of_records(records).find(b"SRVA".ljust(32)) is not None


def test_a_part_of_a_kind_that_no_look_up_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="no look-up"):
        Table((Entry("s1", cast(Part, object())),))
