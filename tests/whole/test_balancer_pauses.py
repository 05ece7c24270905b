"""Clients come home although the balancer stands still, starts again, or their server is busy."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

from homing.farm.processes.local import LocalFarm, running
from tests.processes import demo_farm, free_port, kill, pid_of, stopped
from tests.reactor import eventually
from tests.whole.returning import Homes

MANY = 250
"""Returns at once: more than a server leaves unanswered."""


def test_a_server_that_is_busy_for_a_second_keeps_all_its_clients(tmp_path: Path) -> None:
    with demo_farm(tmp_path) as farm, ThreadPoolExecutor(MANY) as pool:
        homes = Homes(farm)
        with stopped(pid_of(farm, "s2")):
            began = time.monotonic()
            back = [pool.submit(homes.comes_home, "s2") for _ in range(MANY)]
            # In all less than the time after which it is down
            time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
        home = sum(one.result() for one in back)
    assert home == MANY
    assert "is down" not in farm.log.read_text()


def test_a_relayed_server_that_stands_still_keeps_all_its_clients(tmp_path: Path) -> None:
    """Longer than the kernel's retries within the time to connect: what does not fit is lost."""
    with demo_farm(tmp_path, "--relay") as farm, ThreadPoolExecutor(MANY) as pool:
        homes = Homes(farm)
        with stopped(pid_of(farm, "s2")):
            back = [pool.submit(homes.comes_home, "s2") for _ in range(MANY // 2)]
            time.sleep(2.5)
        home = sum(one.result() for one in back)
    assert home == MANY // 2


def test_a_balancer_that_stands_still_for_five_seconds_misroutes_nobody(
    explaining_farm: LocalFarm,
) -> None:
    farm, homes = explaining_farm, Homes(explaining_farm)
    with ThreadPoolExecutor(MANY) as pool:
        back: list[Future[bool]] = []
        with stopped(pid_of(farm, "s1")):  # so that hand-overs are unanswered
            back += [pool.submit(homes.comes_home, "s1") for _ in range(20)]
            eventually(lambda: farm.log.read_text().count(" to s1: its identifier belongs") >= 20)
            os.kill(farm.facts()["balancer_pid"], signal.SIGSTOP)  # before the server goes on
        with stopped(farm.facts()["balancer_pid"]):
            back += [pool.submit(homes.comes_home, f"s{n % 4 + 1}") for n in range(100)]
            time.sleep(5.0)
        back += [pool.submit(homes.comes_home, f"s{n % 4 + 1}") for n in range(100)]
        home = sum(one.result() for one in back)
    assert home == len(back)
    assert "is down" not in farm.log.read_text()


def test_a_balancer_that_is_killed_and_starts_again_loses_no_session(tmp_path: Path) -> None:
    listen = f"tcp:{free_port()}:interface=127.0.0.1"
    with running(tmp_path, ["--listen", listen, "--state-dir", str(tmp_path)]) as farm:
        home = _visits_while_it_is_killed(farm)
    assert len(home) > 30
    assert all(home), f"{home.count(False)} of {len(home)} lost their session"


def _visits_while_it_is_killed(farm: LocalFarm) -> list[bool]:
    homes = Homes(farm)
    over = Event()

    def keeps_coming(server: str) -> list[bool]:
        seen = []
        while not over.is_set():
            seen.append(homes.comes_home(server))
        return seen

    with ThreadPoolExecutor(12) as pool:
        clients = [pool.submit(keeps_coming, f"s{n % 4 + 1}") for n in range(12)]
        for _ in range(2):
            victim = farm.facts()["balancer_pid"]
            kill(victim)
            eventually(lambda victim=victim: farm.facts()["balancer_pid"] not in (victim, None))  # type: ignore[misc]
            eventually(lambda: homes.comes_home("s1"))
        over.set()
        return [one for client in clients for one in client.result()]
