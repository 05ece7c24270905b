"""The balancer's own time: pauses, late timers, jumping clocks; servers that ail, die, leave.

The real balancer, from accepting to hand-off, in a world in memory; every run follows from its
seed.  To look at one: `Run(seed).go()`.
"""

from __future__ import annotations

import pytest

from homing.balancer.waiting import TICK
from tests.balancer.simulation.run import HELLO_TIMEOUT, NAMES, Run

KEEPS_ITS_CLIENTS = {"well", "busy", "slow", "drains"}


def check(run: Run) -> None:
    """What must hold, whatever happened.  s1 is always well, so everybody can be served."""
    seed = run.seed
    for client in run.clients:
        what = f"seed {seed}, client {client.number}"
        assert len(client.served) <= 1, f"{what} was served twice"
        assert client.ended is not None, f"{what} was forgotten"
        assert not client.open, f"{what}: its descriptor is left open"
        if not client.finishes:
            continue
        assert client.served, f"{what} was closed"
        if client.owner and run.kinds.get(client.owner, "well") in KEEPS_ITS_CLIENTS:
            assert client.served == [client.owner], f"{what} did not come home: {run.kinds}"
        begun = client.pieces[-1][0]
        most = HELLO_TIMEOUT + 2 * run.lost_time + 3
        assert client.ended - begun < most, f"{what} waited {client.ended - begun} s"
    assert run.left_behind == [], f"seed {seed}"
    assert run.most_waiting <= len(run.clients)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_nobody_is_lost_and_whose_server_lives_comes_home(first: int) -> None:
    for seed in range(first, first + 50):
        check(Run(seed).go())


@pytest.mark.deep
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(1_000, 11_000, 1000))
def test_nobody_is_lost_in_thousands_of_runs(first: int) -> None:
    for seed in range(first, first + 1000):
        check(Run(seed).go())


def test_the_same_seed_is_the_same_run() -> None:
    one, other = Run(7).go(), Run(7).go()
    assert [client.served for client in one.clients] == [client.served for client in other.clients]
    assert [client.ended for client in one.clients] == [client.ended for client in other.clients]


def test_the_runs_reach_what_they_are_for() -> None:
    runs = [Run(seed).go() for seed in range(50)]
    assert {kind for run in runs for kind in run.kinds.values()} > KEEPS_ITS_CLIENTS
    assert any(run.lost_time for run in runs)
    assert max(run.most_waiting for run in runs) > 20
    assert {server for run in runs for one in run.clients for server in one.served} == set(NAMES)
    assert TICK < HELLO_TIMEOUT
