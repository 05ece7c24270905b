"""A balancer of two processes: clients meet both, and one that dies costs only its own."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.local import LocalFarm
from homing.farm.processes.run import COMMAND
from tests.processes import (
    config_of,
    demo_farm,
    free_port,
    homing,
    is_alive,
    kill,
    listens,
    local_servers,
    process,
)
from tests.reactor import eventually
from tests.whole.clients import ask, connect, context, visit
from tests.whole.registered import Registered
from tests.whole.test_listening import AS_SYSTEMD_DOES

NAMES = {"balancer-1", "balancer-1.2"}
MANY = 24
"""That as many connections are all with one of two workers happens once in 2**23 runs."""


@pytest.fixture(scope="module", name="farm")
def farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    folder = tmp_path_factory.mktemp("workers")
    with demo_farm(folder, "--relay", "--servers", "2", workers=2) as one:
        yield one


def goes_on(connection: ssl.SSLSocket) -> bool:
    """Whether a connection still gets answers."""
    try:
        return bool(ask(connection)["server"])
    except (OSError, AssertionError):
        return False


def test_all_come_home_whichever_worker_they_meet(farm: LocalFarm) -> None:
    clients = context(farm.ca, "TLSv1.3")
    seen = [visit(farm.listen, clients) for _ in range(MANY)]
    again = [visit(farm.listen, clients, one.session) for one in seen]
    assert all(one.reused for one in again)
    homes = [one.answer["server"] for one in seen]
    assert [one.answer["server"] for one in again] == homes
    assert set(homes) == {"s1", "s2"}


def test_a_killed_worker_takes_only_its_own_connections_and_is_replaced(farm: LocalFarm) -> None:
    clients = context(farm.ca, "TLSv1.3")
    session = visit(farm.listen, clients).session
    ongoing = [connect(farm.listen, clients) for _ in range(MANY)]
    first, victim = farm.facts()["balancer_pids"]
    kill(victim)
    # Some of these are in the queue of the one that has died, and wait for its successor
    assert all(visit(farm.listen, clients, session).answer["server"] for _ in range(MANY))
    alive = [goes_on(one) for one in ongoing]
    assert set(alive) == {True, False}
    for one in ongoing:
        one.close()

    eventually(lambda: victim not in farm.facts()["balancer_pids"])
    assert farm.facts()["balancer_pids"][0] == first == farm.facts()["balancer_pid"]
    assert is_alive(farm.facts()["balancer_pids"][1])


def test_status_shows_each_worker(farm: LocalFarm) -> None:
    Registered.of(farm.state_dir).eventually(lambda view: view.balancers.keys() == NAMES)
    ran = homing("status", "--json", "-c", farm.state_dir / "farm.toml", cwd=farm.state_dir)
    assert {one["name"] for one in json.loads(ran.out)["balancers"]} == NAMES


def test_a_second_farm_on_the_port_is_refused(farm: LocalFarm, tmp_path: Path) -> None:
    port = farm.listen.rpartition(":")[2]
    ran = homing(
        *("farm", "--listen", f"tcp:{port}:interface=127.0.0.1", "--workers", "2"), cwd=tmp_path
    )
    assert ran.status == 1
    assert "Address already in use" in ran.said


def test_a_balancer_alone_has_workers_too(tmp_path: Path) -> None:
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    config = config_of(tmp_path, local_servers("s1"), listen, workers=2)
    certificates, log = demo_certificates(tmp_path), tmp_path / "balancer.log"
    with (
        process(*COMMAND, "server", *config, "--name", "s1", cwd=tmp_path),
        process(*COMMAND, "balancer", *config, cwd=tmp_path, out=log) as balancer,
    ):
        Registered.of(tmp_path).eventually(lambda view: view.balancers.keys() == NAMES)
        eventually(lambda: listens(port))
        clients = context(certificates.ca, "TLSv1.3")
        first = visit(f"127.0.0.1:{port}", clients)
        assert visit(f"127.0.0.1:{port}", clients, first.session).reused
        reloaded = homing("reload", *config, cwd=tmp_path)
        assert reloaded.status == 0, reloaded.said + log.read_text()
        assert visit(f"127.0.0.1:{port}", clients, first.session).reused
        balancer.terminate()
        assert balancer.wait(15) == -signal.SIGTERM
    assert not listens(port)


def test_workers_share_a_socket_of_systemd(tmp_path: Path) -> None:
    certificates = demo_certificates(tmp_path)
    config = config_of(tmp_path, local_servers("s1"), "systemd:domain=INET:name=in", workers=2)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        at = f"127.0.0.1:{opened.getsockname()[1]}"
        opened.set_inheritable(True)
        command = (sys.executable, "-c", AS_SYSTEMD_DOES, str(opened.fileno()), "farm", *config)
        with process(*command, cwd=tmp_path, pass_fds=[opened.fileno()]):
            eventually((tmp_path / "farm.json").exists, within=60)
            clients = context(certificates.ca, "TLSv1.3")
            first = visit(at, clients)
            assert all(visit(at, clients, first.session).reused for _ in range(8))
