"""What a balancer makes of the registry's state, and of what contradicts itself there."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.divided import Cutting
from homing.balancer.follower import Follower, Routes
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import (
    Exceptions,
    FarmValue,
    Names,
    PartValue,
    Record,
    Refusal,
    ServerFacts,
    ServerState,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from homing.shared.part import Part
from homing.shared.registry.interface import Batch, Item
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division
from homing.shared.schemes.hash import Rendezvous
from tests.assigning import by_function, free, owner

FARM = FarmValue("range", b"HOME".hex(), 3)
CUT = Cutting(SCHEMES["range"], Division(b"HOME", 3))
NAMES = ("s1", "s2", "s3")


def wish(**options: Any) -> Wish:
    facts = {key: options.pop(key) for key in ("managed", "group", "ids") if key in options}
    return Wish(ServerFacts("tcp:127.0.0.1:1", **facts), **options)


def own(prefix: bytes) -> tuple[IdRange]:
    return (IdRange.of_prefix(prefix),)


def hashed(names: tuple[str, ...]) -> Mapping[str, Part]:
    """What servers have by the scheme hash."""
    records = by_function(Rendezvous(names), names) if names else {}
    return {name: record.parts[0] for name, record in records.items()}


class World:
    """A registry, a view of it, and a follower."""

    def __init__(self, *, by_group: bool = False) -> None:
        self.lines: list[str] = []
        self.view = View(self.lines.append)
        self.follower = Follower(self.assign, self.lines.append, by_group=by_group)
        self.items: dict[str, Item] = {}
        self.revision = 0
        self.broken = False

    def assign(self, names: tuple[str, ...]) -> Mapping[str, Part]:
        if self.broken:
            raise HomingError("the key file is gone")
        return hashed(names)

    def put(self, values: Mapping[str, object | None]) -> Routes:
        """Values change, those that are None go."""
        self.revision += 1
        puts = {key: encode(value) for key, value in values.items() if value is not None}
        return self.raw(puts, frozenset(key for key in values if values[key] is None))

    def raw(self, puts: Mapping[str, bytes], deletes: frozenset[str] = frozenset()) -> Routes:
        items = {key: Item(value, self.revision) for key, value in puts.items()}
        self.items |= items
        for key in deletes:
            self.items.pop(key, None)
        batch = Batch(self.revision, items, deletes)
        return self.follower.follow(self.view, self.view.apply(batch))

    def anew(self, *, by_group: bool = False) -> Routes:
        """What a balancer makes of it that starts now."""
        view = View(lambda line: None)
        changed = view.apply(Batch(self.revision, dict(self.items), is_whole=True))
        return Follower(hashed, lambda line: None, by_group=by_group).follow(view, changed)

    def home(self, number: int, length: int = 32) -> str | None:
        """Where an identifier of this part goes."""
        return owner(self.follower.routes.table, drawn(number, length))


def drawn(number: int, length: int = 32) -> bytes:
    return CUT.cut(number).draw(Random(number).randrange, free, length)


PARTS = st.integers(0, 7)
SOMEBODY = st.sampled_from(NAMES)
CHANGES = st.one_of(
    st.tuples(PARTS.map(keys.part), st.none() | st.builds(PartValue, SOMEBODY)),
    st.tuples(
        st.builds(keys.page, PARTS, SOMEBODY, st.integers(0, 1)),
        st.none()
        | PARTS.map(lambda number: Exceptions((drawn(number).hex(), drawn(number, 16).hex()))),
    ),
    st.tuples(
        SOMEBODY.map(keys.wish),
        st.none()
        | st.builds(
            wish,
            state=st.sampled_from(ServerState),
            weight=st.sampled_from([1.0, 2.5]),
            group=st.sampled_from([None, "g"]),
            managed=st.booleans(),
            ids=st.none() | st.sampled_from([own(b"A"), own(b"AB"), own(b"HOME"), own(b"C")]),
        ),
    ),
    st.tuples(
        SOMEBODY.map(keys.record), st.none() | st.sampled_from([b"A", b"D"]).map(own).map(Record)
    ),
    st.tuples(
        st.just(keys.FARM),
        st.none()
        | st.builds(
            FarmValue,
            st.sampled_from(["range", "bits", "hash", "list", "unheard of"]),
            st.sampled_from([b"HOME".hex(), b"HOMF".hex(), "", "xx"]),
            st.sampled_from([3, 2, 77]),
        ),
    ),
    st.tuples(st.just(keys.NAMES), st.none() | st.just(Names(NAMES))),
)
PROBES = [drawn(number, length) for number in range(8) for length in (16, 32)]
PROBES += [one.ljust(32, b"x") for one in (b"A", b"AB", b"C", b"D", b"HOMF\x44", b"anything")]


class TestAnyBatches:
    @given(
        st.lists(st.lists(CHANGES, min_size=1, max_size=6), min_size=1, max_size=12),
        st.booleans(),
    )
    def test_a_balancer_that_followed_all_the_time_routes_like_one_that_has_just_started(
        self, batches: list[list[tuple[str, object]]], by_group: bool
    ) -> None:
        world = World(by_group=by_group)
        world.put({keys.FARM: FARM})
        bad = False
        for batch in batches:
            changes = dict(batch)
            routes = world.put(changes)
            farm = world.view.farm
            bad = farm is not None and (
                farm.scheme == "unheard of"
                or (farm.scheme != "hash" and (len(farm.prefix) != 8 or farm.bits > 20))
            )
            if bad:  # who followed keeps what it had
                continue
            anew = world.anew(by_group=by_group)
            for probe in PROBES:
                assert owner(routes.table, probe) == owner(anew.table, probe), probe
            assert attrs.evolve(routes, table=anew.table) == anew
            assert routes.table.epoch == world.view.routing


class TestParts:
    def test_a_part_that_moves_is_routed_to_its_new_owner_and_its_exceptions_to_the_old(
        self,
    ) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.part(3): PartValue("s1"), keys.part(4): PartValue("s1")})
        assert [world.home(3), world.home(4), world.home(5)] == ["s1", "s1", None]
        page = keys.page(3, "s1", 0)
        listed = Exceptions((drawn(3).hex(), drawn(3, 16).hex()))
        world.put({keys.part(3): PartValue("s2"), page: listed})
        assert [world.home(3), world.home(3, 16), world.home(4)] == ["s1", "s1", "s1"]
        world.put({page: Exceptions((drawn(3).hex(),))})
        assert [world.home(3), world.home(3, 16)] == ["s1", "s2"]
        routes = world.put({page: None})
        assert [world.home(3), world.home(3, 16)] == ["s2", "s2"]
        assert routes.table.epoch == 4
        assert world.lines == []

    def test_a_change_that_routing_does_not_depend_on_changes_no_epoch(self) -> None:
        world = World()
        world.put({keys.FARM: FARM})
        world.revision = 9
        routes = world.put({keys.server("s9"): None})
        assert (routes.table.epoch, world.view.revision) == (1, 10)

    def test_a_server_that_is_refused_gets_no_clients(self) -> None:
        world = World()
        routes = world.put(
            {keys.FARM: FARM, keys.wish("s1"): wish(), keys.refusal("s1"): Refusal("x", "overlaps")}
        )
        assert routes.servers == {}
        assert set(world.put({keys.refusal("s1"): None}).servers) == {"s1"}

    def test_what_lies_outside_of_the_division_is_ignored_in_words(self) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.part(8): PartValue("s1"), keys.part(7): PartValue("s2")})
        assert world.home(7) == "s2"
        assert world.lines == ["part 8 is ignored: the farm has 8"]

    def test_an_exception_that_is_no_identifier_is_ignored_in_words(self) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.part(3): PartValue("s1")})
        world.put({keys.page(3, "s2", 0): Exceptions((drawn(3).hex(), "zz"))})
        assert world.home(3) == "s2"
        (line,) = world.lines
        assert "0000003/s2/0000 is ignored: 'zz' is not hex" in line

    @pytest.mark.parametrize(
        ("farm", "words"),
        [
            (FarmValue("new", "00", 1), "the scheme 'new' is not known in this version"),
            (FarmValue("range", "", 3), "a prefix has 4 bytes, not 0"),
            (FarmValue("range", b"HOME".hex(), 60), "60 bits"),
        ],
    )
    def test_a_division_that_makes_no_sense_leaves_the_parts_as_they_were(
        self, farm: FarmValue, words: str
    ) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.part(3): PartValue("s1")})
        world.put({keys.FARM: farm})
        assert world.home(3) == "s1"
        (line,) = world.lines
        assert line.startswith("the registry's 'farm' is ignored: ")
        assert words in line

    def test_parts_are_kept_when_the_farm_changes_in_other_ways(self) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.part(3): PartValue("s1")})
        before = world.follower.routes.table.divided
        routes = world.put({keys.FARM: attrs.evolve(FARM, spare=0.5)})
        assert routes.table.divided is before


class TestOwnSets:
    def test_servers_with_ids_of_their_own_are_routed_to_by_them(self) -> None:
        world = World()
        routes = world.put(
            {
                keys.FARM: FARM,
                keys.wish("theirs"): wish(managed=False, ids=own(b"SRVA")),
                keys.wish("s1"): wish(ids=own(b"SRVB")),
                keys.record("s1"): Record(own(b"SRVB")),
                keys.wish("s2"): wish(ids=own(b"SRVC")),  # nobody has accepted them yet
            }
        )
        found = [owner(routes.table, one) for one in (b"SRVA", b"SRVB", b"SRVC")]
        assert found == ["theirs", "s1", None]

    def test_a_newcomer_that_overlaps_changes_no_route_and_both_are_named_in_one_line(self) -> None:
        world = World()
        world.put({keys.FARM: FARM, keys.record("s1"): Record(own(b"AB"))})
        world.put({keys.record("a"): Record(own(b"A")), keys.record("b"): Record(own(b"B"))})
        routes = world.put({keys.part(1): PartValue("s3")})
        found = [owner(routes.table, one) for one in (b"AB", b"A", b"B")]
        assert found == ["s1", None, "b"]
        (line,) = world.lines
        assert line.startswith('the ids of "a" are ignored: they and those of "s1" overlap: 4142')
        routes = world.put({keys.record("s1"): None})
        assert owner(routes.table, b"A") == "a"

    def test_ids_of_its_own_in_the_farms_arena_are_left_out(self) -> None:
        world = World()
        world.put({keys.record("a"): Record(own(b"HO")), keys.part(3): PartValue("s1")})
        world.put({keys.FARM: FARM})
        assert world.home(3) == "s1"
        (line,) = world.lines
        assert '"a" are ignored: they and those of the arena of the farm overlap' in line


class TestFunctions:
    HASH: Mapping[str, object] = {keys.FARM: FarmValue("hash"), keys.NAMES: Names(("s1", "s2"))}

    def test_names_come_and_go(self) -> None:
        world = World()
        seen = set()
        for names in (("s1",), ("s1", "s2"), ("s2",)):
            routes = world.put({**self.HASH, keys.NAMES: Names(names)})
            seen.add(frozenset(owner(routes.table, bytes([n]) * 32) for n in range(50)))
        assert seen == {frozenset(["s1"]), frozenset(["s1", "s2"]), frozenset(["s2"])}

    def test_keys_that_cannot_be_read_leave_the_routes_as_they_were(self) -> None:
        world = World()
        world.put(self.HASH)
        world.broken = True
        routes = world.put({keys.NAMES: Names(("s3",))})
        assert {owner(routes.table, bytes([n]) * 32) for n in range(50)} == {"s1", "s2"}
        assert world.lines == [
            "identifiers are routed by the names as before: the key file is gone"
        ]
        world.broken = False
        routes = world.follower.follow(world.view, {keys.NAMES})  # as when a key has changed
        assert owner(routes.table, b"x") == "s3"

    def test_ids_of_their_own_come_before_the_function(self) -> None:
        world = World()
        routes = world.put({**self.HASH, keys.record("s9"): Record(own(b"SRV"))})
        assert owner(routes.table, b"SRVA") == "s9"


class TestServers:
    def test_servers_come_with_their_weights_and_leave(self) -> None:
        world = World()
        routes = world.put({keys.wish("s1"): wish(weight=3), keys.wish("s2"): wish()})
        assert routes.servers["s1"].address == "tcp:127.0.0.1:1"
        assert routes.weights == {"s1": 3.0, "s2": 1.0}
        routes = world.put({keys.wish("s1"): None})
        assert set(routes.servers) == {"s2"}

    @pytest.mark.parametrize("state", [ServerState.DRAINING, ServerState.REMOVED])
    def test_who_drains_is_still_of_the_farm(self, state: ServerState) -> None:
        routes = World().put({keys.wish("s1"): wish(state=state), keys.wish("s2"): wish()})
        assert set(routes.servers) == {"s1", "s2"}
        assert routes.draining == {"s1"}

    @pytest.mark.parametrize("weight", [0.0, -1.0])
    def test_a_weight_that_no_policy_can_use_is_ignored(self, weight: float) -> None:
        world = World()
        routes = world.put({keys.wish("s1"): wish(weight=weight)})
        assert routes.weights == {"s1": 1.0}
        assert len(world.lines) == 1

    def test_a_group_is_known_by_its_name_and_by_its_members(self) -> None:
        routes = World().put(
            {keys.wish(name): wish(group="g" if name != "s3" else None) for name in NAMES}
        )
        assert routes.groups == dict.fromkeys(("g", "s1", "s2"), ("s1", "s2"))

    def test_where_the_policy_chooses_in_groups_the_table_names_the_group(self) -> None:
        world = World(by_group=True)
        world.put({keys.FARM: FARM, keys.part(3): PartValue("s1"), keys.part(4): PartValue("s3")})
        world.put({keys.wish(name): wish(group="g" if name != "s3" else None) for name in NAMES})
        assert [world.home(3), world.home(4)] == ["g", "s3"]
        world.put({keys.wish("s1"): wish()})
        assert world.home(3) == "s1"
