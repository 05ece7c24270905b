"""Who sends identifiers that they have seen aims no load at one server."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from homing.balancer.limits import ALWAYS, WINDOW
from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.balancer.simulation.run import hello
from tests.whole.returning import Homes

EACH = 1300
FOLLOWED = " to s1: its identifier belongs to this server"
ELSEWHERE = "too many come back to the server its identifier belongs to: chosen by the policy"


def attack(farm: LocalFarm, address: str, identifier: bytes) -> None:
    """Bring the same identifier again and again."""
    for _ in range(EACH):
        with socket.create_connection(
            split_host_and_port(farm.listen), 20, source_address=(address, 0)
        ) as one:
            one.sendall(hello(identifier))


def test_chosen_identifiers_are_not_followed_without_end_and_others_come_home(
    explaining_farm: LocalFarm,
) -> None:
    homes = Homes(explaining_farm)
    stolen = bytes.fromhex(homes.back("s1").answer["issued"][0])
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        attacks = [pool.submit(attack, explaining_farm, f"127.0.0.{n}", stolen) for n in (2, 3)]
        came_home = [homes.comes_home(f"s{n % 4 + 1}") for n in range(60)]
        for one in attacks:
            one.result()
    assert all(came_home)
    took = time.monotonic() - began
    log = explaining_farm.log.read_text()
    assert log.count(FOLLOWED) < ALWAYS * (1 + 1.5 * took / WINDOW) + 10
    assert log.count(ELSEWHERE) > 100
    assert "too many come back to s1: 1 go elsewhere" in log
