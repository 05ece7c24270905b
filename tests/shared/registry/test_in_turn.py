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


@pytest.mark.defect
def test_a_defect_in_what_is_due_is_told_once_and_tried_again_now_and_then() -> None:
    clock = TurningClock()
    registry = MemoryRegistry(clock.seconds)
    tries = 0

    def due() -> list[Transaction]:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ZeroDivisionError
        return [Transaction({"key": 0}, {"key": b"value"})]

    work = InTurn(SimulatedClient(registry, clock), clock, due)
    with log("homing.shared.registry") as lines:
        for _ in range(100):
            work.look(registry.revision)
        assert tries == 1
        for _ in range(40):
            clock.advance(0.1)
    assert len(lines) == 1
    assert "key" in registry.items
    assert clock.calls == []
