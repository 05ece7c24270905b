"""The manager does what is due, and once that has happened nothing more."""

from __future__ import annotations

import attrs
import pytest

from homing.balancer.management.manager import manage
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    Assignment,
    ManagerPresence,
    Needs,
    PartValue,
    ServerFacts,
    ServerState,
    Wish,
)
from homing.shared.id_sets import IdList
from homing.shared.registry.interface import check_limits
from homing.shared.schemes import SCHEMES
from tests.farm.managed import MANAGER, ManagedFarm


def due(farm: ManagedFarm, me: ManagerPresence = MANAGER) -> int:
    return len(list(manage(farm.view, me, SCHEMES["range"], frozenset())))


def test_who_begins_to_manage_calls_the_servers_once() -> None:
    farm = ManagedFarm("s1", "s2")
    first = farm.view.single(keys.CALL)
    assert due(farm) == 0
    successor = attrs.evolve(MANAGER, incarnation="another")
    farm.put(keys.MANAGER, successor)
    (called,) = manage(farm.view, successor, SCHEMES["range"], frozenset())
    assert called.puts.keys() == {keys.CALL}
    farm.registry.commit(called)
    assert farm.view.single(keys.CALL).number == first.number + 1
    assert due(farm, successor) == 0


def test_who_does_not_hold_the_lease_does_nothing() -> None:
    farm = ManagedFarm("s1")
    farm.put(keys.wish("s1"), None)
    assert due(farm, attrs.evolve(MANAGER, incarnation="another")) == 0


@pytest.mark.parametrize("sessions", [-1, 0])
def test_a_server_that_says_nonsense_of_its_size_keeps_nobody_from_getting_parts(
    sessions: int,
) -> None:
    farm = ManagedFarm()
    farm.start("s1", needs=Needs(sessions=1))
    farm.start("s2", needs=Needs(sessions=sessions))
    farm.step()
    assert {name: len(parts) for name, parts in farm.view.owned.items()} == {"s1": 410, "s2": 409}


def test_a_part_that_is_opened_while_the_manager_is_at_work_stays_with_its_owner() -> None:
    farm = ManagedFarm("s1", "s2")
    (last, *_) = sorted(farm.view.owned["s1"])
    farm.put(keys.wish("s1"), Wish(ServerFacts("unix:s1.sock"), ServerState.DRAINING))
    transactions = iter(manage(farm.view, MANAGER, SCHEMES["range"], frozenset()))
    assert farm.registry.commit(next(transactions))
    farm.draw(last)
    assert [farm.registry.commit(one) for one in transactions].count(None) == 1
    assert farm.view.parts[last].value == PartValue("s1", drawn=True)


def test_a_server_that_comes_back_while_the_manager_takes_its_parts_keeps_them() -> None:
    farm = ManagedFarm("s1")
    for number in tuple(farm.view.owned["s1"])[:100]:
        farm.draw(number)
    transactions = iter(manage(farm.view, MANAGER, SCHEMES["range"], frozenset({"s1"})))
    assert farm.registry.commit(next(transactions))
    farm.put(keys.assignment("s1"), Assignment("another", "here"))
    assert farm.registry.commit(next(transactions)) is None


def test_servers_with_long_lists_of_their_own_do_not_stop_the_manager() -> None:
    farm = ManagedFarm()
    for start, name in enumerate(("s1", "s2", "s3")):
        members = (bytes([start]) + number.to_bytes(31, "big") for number in range(6000))
        farm.put(keys.wish(name), Wish(ServerFacts("unix:s.sock", ids=(IdList(members),))))
    transactions = list(manage(farm.view, MANAGER, SCHEMES["range"], frozenset()))
    assert len(transactions) == 2
    for one in transactions:
        check_limits(one)
        assert farm.registry.commit(one)
    assert farm.view.records.keys() == {"s1", "s2", "s3"}
