"""While others mean harm for a while, clients come home; `bench/hostile.py` measures how fast."""

from __future__ import annotations

import pytest

from bench.attacks import ATTACKS, FLOODS
from bench.hostile import UNREAD, Returning, attacking, limited
from homing.farm.processes.local import LocalFarm

pytestmark = pytest.mark.deep

SECONDS = 20.0
RATE = 40.0


@pytest.fixture(scope="module")
def clients(farm: LocalFarm) -> Returning:
    """Clients with a session each."""
    return Returning.first_visits(farm, 40)


@pytest.mark.parametrize("attack", [*ATTACKS, UNREAD])
def test_no_session_is_lost_under_an_attack(
    farm: LocalFarm, clients: Returning, attack: str
) -> None:
    with attacking(attack, farm):
        felt = clients.phase(attack, RATE, SECONDS)
    assert felt.visits == RATE * SECONDS
    assert felt.lost == 0


@pytest.mark.parametrize("flood", FLOODS)
def test_no_session_is_lost_under_a_flood_that_is_cut(
    farm: LocalFarm, clients: Returning, flood: str
) -> None:
    with limited(farm), attacking(flood, farm):
        felt = clients.phase(flood, RATE, SECONDS)
    assert felt.visits == RATE * SECONDS
    assert felt.lost == 0
