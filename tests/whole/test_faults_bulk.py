"""In the middle of bulk something dies, hangs or is not read: only its own connections feel it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from homing.farm.processes.local import LocalFarm
from tests.processes import PLANES, demo_farm, kill, pid_of, stopped
from tests.reactor import eventually
from tests.tls import reset
from tests.whole.bulk import APP, ROOT, Download, balancers, memory
from tests.whole.clients import context

LARGE = 24_000_000
"""Bytes; more than all buffers on the way hold."""
SMALL = 100_000
SERVERS = ("s1", "s2")


@pytest.fixture(scope="module", params=PLANES)
def plane(request: pytest.FixtureRequest) -> str:
    """Both data planes."""
    return str(request.param)


@pytest.fixture(scope="module")
def farm(plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """Two servers that have bulk to give."""
    state = tmp_path_factory.mktemp("bulk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        with demo_farm(state, "--servers", "2", "--app", APP, *PLANES[plane]) as one:
            yield one


@pytest.fixture(scope="module")
def clients(farm: LocalFarm) -> ssl.SSLContext:
    """Clients, new each time: half of them go to each server."""
    return context(farm.ca, "TLSv1.3")


def begin(farm: LocalFarm, clients: ssl.SSLContext, count: int, size: int) -> list[Download]:
    names = [f"{time.monotonic_ns()}-{number}" for number in range(count)]
    return [Download.begin(farm.listen, clients, name, size) for name in names]


def finish(downloads: list[Download]) -> list[bool]:
    """Whether each came whole; all read at once."""
    with ThreadPoolExecutor(max(1, len(downloads))) as pool:
        return list(pool.map(Download.finish, downloads))


def is_served(farm: LocalFarm, clients: ssl.SSLContext) -> bool:
    try:
        return finish(begin(farm, clients, 1, SMALL)) == [True]
    except (OSError, AssertionError):
        return False


def test_clients_that_read_nothing_cost_little_memory_and_others_nothing(
    farm: LocalFarm, clients: ssl.SSLContext
) -> None:
    processes = [*balancers(farm), *(pid_of(farm, name) for name in SERVERS)]
    assert is_served(farm, clients)
    before = [memory(pid) for pid in processes]
    idle = begin(farm, clients, 40, LARGE)
    assert all(finish(begin(farm, clients, 20, SMALL)))
    grown = [memory(pid) - was for pid, was in zip(processes, before, strict=True)]
    assert max(grown) < 40_000_000, "of 960,000,000 bytes that nobody reads"
    late, others = idle[:2], idle[2:]
    for one in others:
        reset(one.connection)
    assert finish(late) == [True, True]


def test_a_server_that_stands_still_loses_and_repeats_nothing(
    farm: LocalFarm, clients: ssl.SSLContext
) -> None:
    """For longer than it may take to answer a hand-over."""
    running = begin(farm, clients, 4, LARGE)
    with ThreadPoolExecutor(60) as pool:
        with stopped(pid_of(farm, "s1")):
            late = [pool.submit(begin, farm, clients, 1, SMALL) for _ in range(60)]
            time.sleep(2.5)
        assert all(finish([one for each in late for one in each.result()]))
    assert all(finish(running))
    eventually(
        lambda: (
            {one.server for one in _drained(begin(farm, clients, 4, SMALL))}
            == {pid_of(farm, name) for name in SERVERS}
        )
    )


def _drained(downloads: list[Download]) -> list[Download]:
    assert all(finish(downloads))
    return downloads


def test_a_killed_server_ends_its_own_connections_only(
    farm: LocalFarm, clients: ssl.SSLContext
) -> None:
    downloads = begin(farm, clients, 6, LARGE)
    victim = pid_of(farm, "s1")
    is_victims = [one.server == victim for one in downloads]
    assert {True, False} == set(is_victims)
    kill(victim)
    assert finish(downloads) == [not its for its in is_victims]
    eventually(lambda: is_served(farm, clients))
    eventually(lambda: pid_of(farm, "s1") != victim)


def test_a_killed_balancer_process_ends_what_it_relays_and_nothing_else(
    farm: LocalFarm, clients: ssl.SSLContext, plane: str
) -> None:
    downloads = begin(farm, clients, 6, LARGE)
    eventually(lambda: plane == "relay" or not any(_carried(downloads, balancers(farm))))
    victim = balancers(farm)[0]
    its = _carried(downloads, [victim])
    kill(victim)
    assert finish(downloads) == [not one for one in its]
    eventually(lambda: is_served(farm, clients))
    eventually(lambda: victim not in balancers(farm))


def _carried(downloads: list[Download], by: list[int]) -> list[bool]:
    return [any(one.is_carried_by(pid) for pid in by) for one in downloads]
