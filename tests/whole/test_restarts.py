"""A restart refuses nobody, and nobody else's start disturbs a farm that runs."""

from __future__ import annotations

import os
import resource
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from homing.shared.addresses import split_host_and_port
from tests.processes import (
    LISTEN,
    config_of,
    demo_farm,
    homing,
    is_alive,
    kill,
    local_servers,
    pid_of,
    process,
)
from tests.reactor import eventually
from tests.whole.clients import connect, context, visit
from tests.whole.returning import returning


def balancer_is_back(farm: LocalFarm, before: int) -> None:
    """Wait for the balancer that takes the place of the one killed."""
    eventually(lambda: farm.facts()["balancer_pid"] not in {before, None}, within=60)


def test_clients_that_come_while_the_balancer_restarts_are_served_and_resume(
    farm: LocalFarm,
) -> None:
    listen = farm.listen
    with returning(farm) as returns:
        for _ in range(2):
            victim = farm.facts()["balancer_pid"]
            returns.kill(victim)
            socket.create_connection(
                split_host_and_port(listen), 5
            ).close()  # while there is no balancer
            balancer_is_back(farm, victim)
    assert farm.listen == listen, "another port"
    assert returns.lost() == []


def state_of(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """All that a start could have touched in a state folder, and a running farm does not."""
    found = {}
    for path in folder.rglob("*"):
        if not path.name.startswith(("farm.log", "registry.sqlite", "table-")):
            status, content = path.lstat(), path.read_bytes() if path.is_file() else b""
            found[str(path)] = status.st_ino, status.st_mtime_ns, status.st_size, content
    return found


def test_a_second_start_on_a_state_in_use_touches_nothing_and_says_who_has_it(
    tmp_path: Path,
) -> None:
    arguments = config_of(
        tmp_path,
        local_servers("s1"),
        more='[session_ids]\nscheme = "keyed"',
    )
    with running(tmp_path, arguments) as farm:
        clients = context(farm.ca, "TLSv1.2")
        first = visit(farm.listen, clients)
        before = state_of(tmp_path)
        demo = ["--state-dir", str(tmp_path), "--listen", LISTEN, "--servers", "2"]
        starts = {
            f"{tmp_path}/lock is held by process {farm.process.pid}: ": [
                ["farm", *demo],
                ["farm", *arguments],
            ],
            f"{tmp_path}/lock-s1 is held by process {pid_of(farm, 's1')}: ": [
                ["server", *arguments, "--name", "s1"]
            ],
            f"{tmp_path}/lock-balancer-1-workers is held by process {farm.process.pid}: ": [
                ["balancer", *arguments, "--listen", LISTEN]
            ],
        }
        with ThreadPoolExecutor() as pool:
            ran = {
                words: [pool.submit(homing, *one, cwd=tmp_path.parent) for one in all_]
                for words, all_ in starts.items()
            }
        for words, outcomes in ran.items():
            for outcome in outcomes:
                assert outcome.result().status == 1
                assert words in outcome.result().err
                assert "Traceback" not in outcome.result().said
        assert state_of(tmp_path) == before
        assert visit(farm.listen, clients, first.session).reused


def test_a_farm_that_was_killed_can_be_started_again_at_once(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "2") as farm:
        lingering = [pid_of(farm, name) for name in ("s1", "s2")]
        ongoing = connect(farm.listen, context(farm.ca, "TLSv1.3"))  # its server waits for its end
        farm.process.kill()
        farm.process.wait()
        with demo_farm(tmp_path, "--servers", "2") as again:
            assert not any(is_alive(pid) for pid in lingering)
            clients = context(again.ca, "TLSv1.2")
            assert visit(again.listen, clients).answer["server"] in {"s1", "s2"}
        ongoing.close()


LAUNCHER = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
os.dup2(listening.fileno(), 9)
os.dup2(9, 3)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="farm", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, sys.argv[1:])
"""
"""Starts a program as systemd does for a socket unit."""


def test_a_socket_of_systemd_reaches_the_balancer_and_outlives_it(tmp_path: Path) -> None:
    arguments = config_of(tmp_path, local_servers("s1"), "systemd:domain=INET:index=0")
    command = [sys.executable, "-c", LAUNCHER, *COMMAND, "farm", *arguments]
    log = tmp_path / "farm.log"
    with process(*command, cwd=tmp_path, out=log) as one:
        farm = LocalFarm(tmp_path, one)
        eventually((tmp_path / "farm.json").exists, within=60)
        port = int(log.read_text().partition("\n")[0])
        assert farm.listen == f"127.0.0.1:{port}"
        clients = context(farm.ca, "TLSv1.2")
        first = visit(farm.listen, clients)
        before = farm.facts()["balancer_pid"]
        kill(before)
        assert visit(farm.listen, clients, first.session).reused
        balancer_is_back(farm, before)


@pytest.mark.parametrize("limit", [160, 40, 20])
def test_few_descriptors_are_enough_or_one_line_says_how_many_are(
    tmp_path: Path, limit: int
) -> None:
    state = tmp_path / "state"
    arguments = ["farm", "--listen", LISTEN, "--state-dir", str(state), "--servers", "2"]
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.dup2(inherited, 230)  # above the limit, as some terminals and containers leave it
    command = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *COMMAND, *arguments]
    log = tmp_path / "log"
    with process(*command, cwd=tmp_path, out=log, pass_fds=[230]) as one:
        os.close(inherited)
        os.close(230)
        eventually(lambda: one.poll() is not None or (state / "farm.json").exists(), within=60)
        said = log.read_text()
        assert "Traceback" not in said
        if one.poll() is None:
            farm = LocalFarm(state, one)
            assert visit(farm.listen, context(farm.ca, "TLSv1.3")).answer["server"]
        else:
            assert one.returncode == 1
            assert said.count("\n") == 1
            assert f"only {limit} open files are allowed" in said


def test_a_farm_json_that_cannot_be_written_is_gone_rather_than_wrong(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "2") as farm:
        listen, before = farm.listen, pid_of(farm, "s1")
        clients = context(farm.ca, "TLSv1.3")
        as_it_was = resource.prlimit(farm.process.pid, resource.RLIMIT_FSIZE)
        # As on a full disk; its log is no longer written either
        resource.prlimit(farm.process.pid, resource.RLIMIT_FSIZE, (1, as_it_was[1]))
        kill(before)
        eventually(lambda: not (tmp_path / "farm.json").exists())
        eventually(lambda: visit(listen, clients).answer["server"] == "s1")
        resource.prlimit(farm.process.pid, resource.RLIMIT_FSIZE, as_it_was)
        eventually((tmp_path / "farm.json").exists)
        assert is_alive(pid_of(farm, "s1"))
        assert pid_of(farm, "s1") != before
        assert not list(tmp_path.glob(".farm.json*"))
