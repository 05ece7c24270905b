"""Clients of all kinds come and go at full speed: after the first of it nothing grows any more."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, cycle
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.shared.addresses import split_host_and_port
from tests.processes import PLANES, config_of, free_port
from tests.sample_hellos import sample
from tests.tls import reset
from tests.whole.bulk import balancers, memory
from tests.whole.clients import context, visit

SECONDS = float(os.environ.get("HOMING_CHURN_SECONDS", "600"))
"""Of each farm; a tenth of it comes first."""
AT_ONCE = 12
LIFETIME = 5
"""Seconds a session lives, so that what is kept of them has its full size soon."""
ALLOWED = 1.1
"""Memory at the end over that at first: an allocator takes some time to settle."""

pytestmark = [pytest.mark.deep, pytest.mark.timeout(3 * SECONDS + 300)]

HELLO = sample("python-first").wire
LIMITS = f"source_rate = 0\nserver_excess = 0\n[session_ids]\nlifetime = {LIFETIME}\ncache = 200\n"


@pytest.fixture(params=PLANES)
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalFarm]:
    """A farm with each data plane, whose servers keep few sessions."""
    servers = ""
    for name in ("s1", "s2"):
        relayed = request.param == "relay"
        address = f"tcp:127.0.0.1:{free_port()}" if relayed else f"unix:{name}.sock"
        servers += f'[[server]]\nname = "{name}"\naddress = "{address}"\n'
    with running(tmp_path, config_of(tmp_path, LIMITS + servers)) as one:
        yield one


class Churn:
    """Clients that come again and again, each time in one of many ways."""

    def __init__(self, farm: LocalFarm) -> None:
        self.seen: Counter[str] = Counter()
        self._listen = farm.listen
        self._contexts = {version: context(farm.ca, version) for version in ("TLSv1.2", "TLSv1.3")}
        self._ways: list[Callable[[str], None]] = [
            self._visits,
            self._visits,
            self._resets,
            self._says(HELLO[:100]),
            self._says(HELLO),
            self._says(b"GET / HTTP/1.1\r\n\r\n"),
        ]

    def for_seconds(self, seconds: float) -> None:
        """Have them come, some at once, for so long."""
        until = time.monotonic() + seconds
        turns = count()
        lock = threading.Lock()

        def comes() -> None:
            for version in cycle(self._contexts):
                with lock:
                    turn = next(turns)
                if time.monotonic() > until:
                    return
                self._ways[turn % len(self._ways)](version)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for one in [pool.submit(comes) for _ in range(AT_ONCE)]:
                one.result()

    def _visits(self, version: str) -> None:
        first = visit(self._listen, self._contexts[version])
        back = visit(self._listen, self._contexts[version], first.session)
        self.seen["came back" if back.reused else "was not known"] += 1

    def _resets(self, version: str) -> None:
        visit(self._listen, self._contexts[version], leave_by_reset=True)
        self.seen["reset"] += 1

    def _says(self, words: bytes) -> Callable[[str], None]:
        def says(_: str) -> None:
            with suppress(ConnectionError):
                one = socket.create_connection(split_host_and_port(self._listen), 20)
                one.sendall(words)
                reset(one) if len(words) % 2 else one.close()
            self.seen["said something"] += 1

        return says


def settled(pids: list[int]) -> list[int]:
    """The descriptors of each process once the connections have ended: the fewest in some time."""
    looks = []
    for _ in range(30):
        time.sleep(0.1)
        looks.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in pids])
    return [min(each) for each in zip(*looks, strict=True)]


def processes(farm: LocalFarm) -> list[int]:
    return [*balancers(farm), *(one["pid"] for one in farm.facts()["servers"])]


def test_churn_takes_no_more_memory_and_no_more_descriptors_after_the_first(
    farm: LocalFarm,
) -> None:
    churn, pids = Churn(farm), processes(farm)
    churn.for_seconds(max(4 * LIFETIME, SECONDS / 10))
    at_rest = settled(pids)
    before = [memory(pid) for pid in pids]
    churn.for_seconds(SECONDS)
    after = [memory(pid) for pid in pids]
    left = settled(pids)
    print(dict(churn.seen), [f"{now / was:.3f}" for now, was in zip(after, before, strict=True)])
    assert all(now <= was for now, was in zip(left, at_rest, strict=True)), (at_rest, left)
    assert processes(farm) == pids
    assert churn.seen["came back"] > 0.99 * (churn.seen["came back"] + churn.seen["was not known"])
    assert all(now <= ALLOWED * was for now, was in zip(after, before, strict=True)), churn.seen
