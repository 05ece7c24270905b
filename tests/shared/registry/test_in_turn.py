"""What is due is committed one transaction after the other, by who has not stopped."""

from __future__ import annotations

import pytest

from homing.shared.registry.in_turn import InTurn
from homing.shared.registry.interface import TIMEOUT, Transaction
from homing.shared.registry.memory import MemoryRegistry
from tests.logs import log
from tests.shared.registry.simulated import Fate, SimulatedClient
from tests.turns import TurningClock


@pytest.mark.parametrize("stops", [True, False])
def test_who_stops_says_nothing_of_what_fails_then_and_tries_it_no_more(stops: bool) -> None:
    clock = TurningClock()
    registry = MemoryRegistry(clock.seconds)
    fates = [Fate(is_lost=True)]
    client = SimulatedClient(registry, clock, lambda: fates.pop() if fates else Fate())
    work = InTurn(client, clock, lambda: [Transaction({"key": 0}, {"key": b"value"})])
    with log("homing.shared.registry") as lines:
        work.look(registry.revision)
        if stops:
            work.stop()
        for _ in range(20):
            clock.advance((TIMEOUT + 2) / 20)
    assert len(lines) == (not stops)
    assert ("key" in registry.items) is not stops
    assert clock.calls == []
