"""The whole farm in one process, with every fault at every step; every run follows from its seed.

To look at one: `Run(seed).go()`, and its `world.log`.
"""

from __future__ import annotations

import pytest

from homing.shared.farm_state.codec import decode
from homing.shared.farm_state.values import PartValue
from homing.shared.moves import PartStep, Way
from tests.farm.simulation.run import Run


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_no_identifier_is_drawn_twice_no_session_is_lost_and_every_move_ends(first: int) -> None:
    for seed in range(first, first + 30):
        Run(seed).go()


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1_000, 9_000, 1000))
def test_the_farm_holds_in_thousands_of_runs(first: int) -> None:
    for seed in range(first, first + 1000):
        Run(seed).go()


def test_the_same_seed_is_the_same_run() -> None:
    assert Run(7).go().world.log == Run(7).go().world.log


def test_the_runs_reach_what_they_are_for() -> None:
    runs = [Run(seed) for seed in range(40)]
    seen: set[tuple[Way, PartStep]] = set()
    for run in runs:
        run.world.saw = lambda key, value: (
            seen.add((part.how, part.step))
            if key.startswith("parts/") and (part := decode(PartValue, value))
            else None
        )
        run.go()
    assert {run.world.scheme.name for run in runs} == {"range", "bits", "list"}
    assert seen >= {(how, PartStep.LEAVING) for how in Way}
    assert seen >= {
        (Way.DRAIN, PartStep.STOPPED),
        (Way.EXCEPTIONS, PartStep.LISTED),
        (Way.SCHEDULED, PartStep.RELEASED),
    }
    assert set().union(*(run.asked_for for run in runs)) >= {"drain", "remove", "reassign", "max"}
