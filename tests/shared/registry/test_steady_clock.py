"""What a server loses when somebody sets the wall clock back: nothing that hangs on a lease."""

from __future__ import annotations

import time

import pytest

from homing.shared.registry.steady_clock import SteadyClock
from tests.reactor import call, eventually, reactor


def test_leases_are_renewed_in_time_although_the_wall_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: SteadyClock = call(SteadyClock, reactor())
    done: list[float] = []
    began = time.monotonic()
    call(clock.callLater, 0.3, lambda: done.append(time.monotonic() - began))
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() - 3600)
    monkeypatch.setattr(reactor(), "seconds", lambda: wall() - 3600)
    eventually(lambda: bool(done))
    assert done[0] >= 0.25
