"""What moves when servers come, go, or ask for more: the least, and nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.balancer.management.allocation import (
    CannotAllocate,
    Claim,
    Holding,
    Shift,
    shifts,
    targets,
)

COUNT = 1024
SPARE = Fraction(1, 5)

Owned = dict[str, set[int]]


def moved(
    owned: Owned, claims: Mapping[str, Claim], even: bool = False, count: int = COUNT
) -> tuple[Owned, list[Shift]]:
    """What the servers own after all that has to move has moved, and the moves."""
    held = {name: Holding(sorted(parts, reverse=True), len(parts)) for name, parts in owned.items()}
    taken = set().union(*owned.values())
    free = [part for part in range(count) if part not in taken]
    found = shifts(claims, held, free, count, SPARE, even)
    after = {name: set(parts) for name, parts in owned.items()} | {
        name: set(owned.get(name, ())) for name in claims
    }
    for shift in found:
        for parts in after.values():
            parts.discard(shift.part)
        if shift.to is not None:
            after[shift.to].add(shift.part)
    return {name: parts for name, parts in after.items() if parts}, found


def even_farm(servers: int) -> Owned:
    return moved({}, {f"s{number}": Claim() for number in range(1, servers + 1)})[0]


def sizes(owned: Owned) -> dict[str, int]:
    return {name: len(parts) for name, parts in owned.items()}


def test_four_servers_get_an_even_part_each_and_a_fifth_stays_spare() -> None:
    assert sorted(sizes(even_farm(4)).values()) == [204, 205, 205, 205]


def test_a_fifth_server_is_served_from_the_spare_part_and_no_other_loses_anything() -> None:
    before = even_farm(4)
    after, found = moved(before, {name: Claim() for name in (*before, "s5")})
    assert {shift.to for shift in found} == {"s5"}
    assert all(before[name] == after[name] for name in before)
    assert len(after["s5"]) == 163


def test_a_server_that_the_spare_part_cannot_serve_gets_the_least_from_those_with_most() -> None:
    farm = even_farm(4)
    for name in ("s5", "s6"):
        farm, found = moved(farm, {each: Claim() for each in (*farm, name)})
    from_spare = [shift for shift in found if shift.part not in set().union(*even_farm(5).values())]
    assert len(found) == 136
    assert len(from_spare) > 0
    assert sizes(farm)["s6"] == 136
    assert min(sizes(farm).values()) >= 136


@given(st.integers(1, 40))
def test_a_join_moves_no_more_than_its_part_beyond_the_spare_one(servers: int) -> None:
    farm: Owned = {}
    for number in range(1, servers + 2):
        before = farm
        spare = COUNT - sum(sizes(farm).values())
        farm, found = moved(farm, {f"s{each}": Claim() for each in range(1, number + 1)})
    assigned = sum(sizes(before).values())
    assert len(found) - spare <= assigned / (servers + 1)


claims = st.builds(
    Claim,
    share=st.none() | st.integers(1, 11).map(lambda each: Fraction(each, 100)),
    weight=st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 2)]),
)
farms = st.dictionaries(st.sampled_from([f"s{each}" for each in range(9)]), claims, min_size=1)


@given(st.lists(farms, min_size=1, max_size=5), st.booleans())
def test_nothing_moves_twice_and_everybody_has_what_it_claims(
    history: list[dict[str, Claim]], even: bool
) -> None:
    owned: Owned = {}
    for asked in history:
        owned, found = moved(owned, asked, even)
        assert len({shift.part for shift in found}) == len(found)
        wanted = targets(asked, COUNT, SPARE)
        assert owned.keys() == asked.keys()
        for name, parts in owned.items():
            assert len(parts) >= wanted[name]
            if even or asked[name].is_fixed:
                assert len(parts) == wanted[name]
        assert moved(owned, asked, even)[1] == []


def test_what_a_server_leaves_goes_to_the_others_and_nothing_else_moves() -> None:
    before = even_farm(4)
    after, found = moved(before, {name: Claim() for name in before if name != "s4"})
    assert "s4" not in after
    assert {shift.part for shift in found} == before["s4"]


def test_to_even_the_farm_restores_the_spare_part() -> None:
    farm, _ = moved(even_farm(4), {f"s{each}": Claim() for each in range(1, 6)})
    farm, _ = moved(farm, {name: Claim() for name in farm}, even=True)
    assert sorted(sizes(farm).values()) == [163, 164, 164, 164, 164]


def test_a_resize_moves_what_it_takes_and_no_more() -> None:
    before = even_farm(4)
    asked = {name: Claim() for name in before} | {"s1": Claim(Fraction(1, 10))}
    after, _ = moved(before, asked)
    assert len(after["s1"]) == 82
    assert after["s1"] < before["s1"]
    assert all(before[name] <= after[name] for name in ("s2", "s3", "s4"))


def test_a_server_near_its_end_gets_more_from_the_spare_part_alone() -> None:
    before = even_farm(4)
    after, _ = moved(before, {name: Claim(more=name == "s2") for name in before})
    assert len(after["s2"]) == 205 + 51
    assert all(before[name] == after[name] for name in ("s1", "s3", "s4"))


def test_more_than_all_is_refused_with_the_figures() -> None:
    with pytest.raises(CannotAllocate, match="more than 100%"):
        targets({"s1": Claim(Fraction(9, 10)), "s2": Claim(Fraction(2, 10))}, COUNT, SPARE)
    with pytest.raises(CannotAllocate, match="leave nothing"):
        targets({"s1": Claim(Fraction(1)), "s2": Claim()}, COUNT, SPARE)


def test_1000_servers_and_100000_parts_are_planned_without_a_part_lost() -> None:
    count = 1 << 17
    asked = {f"s{each}": Claim() for each in range(1000)}
    farm, _ = moved({}, asked, count=count)
    assert sum(sizes(farm).values()) == count - -(-count // 5)
