"""The scheme list: as many identifiers as asked for, scattered, and the same at every start."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from homing.shared.id_sets import IdList, IdRange
from homing.shared.identifiers import KEY_NAME_LENGTH
from homing.shared.part import Part
from homing.shared.schemes.base import Need
from homing.shared.schemes.list import lists


def members(part: Part) -> tuple[bytes, ...]:
    assert isinstance(part, IdList)
    return part.members


class TestLists:
    @given(st.integers(1, 50), st.integers(1, 50))
    def test_a_server_gets_the_number_it_asks_for(self, asked: int, size: int) -> None:
        parts = lists([Need("s1", max_ids=asked), Need("s2")], size)
        assert {name: part.count() for name, part in parts.items()} == {
            "s1": asked,
            "s2": size,
        }

    def test_every_member_can_be_a_tickets_name(self) -> None:
        part = lists([Need("s1")], 200)["s1"]
        assert part.count(KEY_NAME_LENGTH) == part.count() == 200
        luck, drawn = Random(1), set[bytes]()
        while len(drawn) < 200:
            drawn.add(part.draw(luck.randrange, drawn.__contains__, KEY_NAME_LENGTH))
        assert all(identifier in part for identifier in drawn)

    def test_servers_and_sizes_that_change_leave_the_others_their_identifiers(self) -> None:
        before = lists([Need("s1"), Need("s2")], 50)
        after = lists([Need("s9"), Need("s2"), Need("s1", max_ids=80)], 50)
        assert after["s2"] == before["s2"]
        assert all(member in after["s1"] for member in members(before["s1"]))

    def test_members_are_scattered_over_all_identifiers(self) -> None:
        """Else a hello's random ID hits more often in some places, and lists tell servers apart."""
        part = lists([Need("s1")], 2000)["s1"]
        first_bytes = [member[0] for member in members(part)]
        counts = [first_bytes.count(value) for value in range(256)]
        expected = 2000 / 256
        # 255 degrees of freedom, 6 sigma
        assert sum((count - expected) ** 2 / expected for count in counts) < 391

    @settings(max_examples=20)
    @given(st.integers(0, 255))
    def test_what_another_server_brings_is_left_to_it(self, first: int) -> None:
        without = lists([Need("s1")], 300)["s1"]
        occupied = [IdRange.of_prefix(bytes([first]))]
        part = lists([Need("s1")], 300, occupied)["s1"]
        assert part.count() == 300
        assert not any(member[0] == first for member in members(part))
        kept = {member for member in members(without) if member[0] != first}
        assert kept <= set(members(part))
