"""The manager does what is due, and once that has happened nothing more."""

from __future__ import annotations

import attrs
import pytest

from homing.balancer.management.manager import manage
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ManagerPresence, Needs
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
