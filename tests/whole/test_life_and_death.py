"""What users lose when a process dies or the farm stops: as little as can be."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from homing.shared.addresses import split_host_and_port
from tests.processes import (
    LISTEN,
    PLANES,
    config_of,
    demo_farm,
    is_alive,
    kill,
    listens,
    local_servers,
    pid_of,
    process,
)
from tests.reactor import eventually
from tests.whole.clients import Seen, ask, connect, context, visit


@pytest.fixture(scope="module", name="mended")
def mended_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """A farm that has started again what a test kills before that test ends."""
    with demo_farm(tmp_path_factory.mktemp("mended")) as one:
        yield one


def test_killing_a_server_costs_its_clients_one_full_handshake_and_the_others_nothing(
    mended: LocalFarm,
) -> None:
    farm = mended
    names = ("s1", "s2", "s3", "s4")
    clients = {name: context(farm.ca, "TLSv1.3") for name in names}
    sessions = {name: _session_at(farm, clients[name], name) for name in names}
    ongoing = connect(farm.listen, clients["s1"], sessions["s1"].session)
    assert ongoing.session_reused
    victim = pid_of(farm, "s2")
    kill(victim)

    for name in ("s1", "s3", "s4"):
        seen = visit(farm.listen, clients[name], sessions[name].session)
        assert (seen.reused, seen.answer["server"]) == (True, name)
    orphan = visit(farm.listen, clients["s2"], sessions["s2"].session)
    assert not orphan.reused
    assert ask(ongoing)["server"] == "s1"

    eventually(lambda: pid_of(farm, "s2") not in {victim, None})
    eventually(lambda: visit(farm.listen, clients["s2"]).answer["server"] == "s2")
    back = _session_at(farm, clients["s2"], "s2")
    again = visit(farm.listen, clients["s2"], back.session)
    assert (again.reused, again.answer["server"]) == (True, "s2")


def _session_at(farm: LocalFarm, clients: ssl.SSLContext, server: str) -> Seen:
    for _ in range(60):
        seen = visit(farm.listen, clients)
        if seen.answer["server"] == server:
            return seen
    raise AssertionError(f"no visit reached {server}")


def test_killing_the_balancer_ends_no_connection_that_was_handed_over(mended: LocalFarm) -> None:
    farm = mended
    clients = context(farm.ca, "TLSv1.2")
    first = visit(farm.listen, clients)
    ongoing = connect(farm.listen, clients, first.session)
    victim = farm.facts()["balancer_pid"]
    listen = farm.listen
    kill(victim)
    assert ask(ongoing)["resumed"]

    eventually(lambda: farm.facts()["balancer_pid"] not in {victim, None} and listens(farm.listen))
    assert farm.listen.partition(":")[0] == listen.partition(":")[0]
    back = visit(farm.listen, clients, first.session)
    assert back.reused


def test_a_server_that_hangs_costs_its_clients_seconds_not_their_connection(
    mended: LocalFarm,
) -> None:
    farm = mended
    clients = context(farm.ca, "TLSv1.3")
    home = _session_at(farm, clients, "s3")
    hung = pid_of(farm, "s3")
    os.kill(hung, signal.SIGSTOP)
    try:
        elsewhere = visit(farm.listen, clients, home.session)
        assert not elsewhere.reused
        assert elsewhere.answer["server"] != "s3"
    finally:
        os.kill(hung, signal.SIGCONT)
    eventually(lambda: visit(farm.listen, clients, home.session).reused)


def test_killing_the_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "2") as farm:
        facts = farm.facts()
        farm.process.kill()
        pids = [facts["balancer_pid"], *(one["pid"] for one in facts["servers"])]
        eventually(lambda: not any(is_alive(pid) for pid in pids))
    assert not list(tmp_path.glob("*.sock"))


@pytest.mark.parametrize(("plane", "by"), [("hand-off", signal.SIGTERM), ("relay", signal.SIGINT)])
def test_a_stopped_farm_finishes_what_it_began_and_leaves_nothing_behind(
    tmp_path: Path, plane: str, by: signal.Signals
) -> None:
    with demo_farm(tmp_path, "--servers", "2", *PLANES[plane]) as farm:
        facts = farm.facts()
        ongoing = connect(farm.listen, context(farm.ca, "TLSv1.3"))
        silent = socket.create_connection(split_host_and_port(farm.listen))
        idle = connect(farm.listen, context(farm.ca, "TLSv1.3"))
        began = time.monotonic()
        farm.process.send_signal(by)
        eventually(lambda: not listens(facts["listen"]))
        assert ask(ongoing)["server"]
        ongoing.close()
        farm.process.wait(10)
        assert time.monotonic() - began < 5
        silent.close()
        idle.close()
    pids = [facts["balancer_pid"], *(one["pid"] for one in facts["servers"])]
    assert not any(is_alive(pid) for pid in pids)
    assert not list(tmp_path.glob("*.sock*"))
    assert not (tmp_path / "farm.json").exists()


def test_a_farm_that_is_stopped_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    arguments = ["farm", "-l", LISTEN, "-d", "state", "-n", "8"]
    lock = tmp_path / "state" / "lock"
    for step in range(8):  # from when its lock is there until some of its children are
        with process(*COMMAND, *arguments, cwd=tmp_path) as one:
            eventually(lock.exists)
            time.sleep(0.03 * step)
            one.terminate()
            assert one.wait(5) == -signal.SIGTERM
        with lock.open() as held:  # children hold it as long as they live
            flock(held, LOCK_EX | LOCK_NB)
        lock.unlink()


def test_keys_and_certificates_are_made_once_and_kept(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        with demo_farm(tmp_path, "--servers", "1"):
            made.append({path.name: path.read_bytes() for path in tmp_path.glob("*.pem")})
    assert made[0] == made[1]
    for key in tmp_path.glob("*key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_the_clients_of_a_killed_server_with_few_ids_do_not_meet_others_with_theirs(
    tmp_path: Path,
) -> None:
    servers = local_servers("s1", more="max_ids=3")
    more = '[session_ids]\nscheme="list"\nresumption="ids"'
    with running(tmp_path, config_of(tmp_path, servers, more=more)) as farm:
        clients = context(farm.ca, "TLSv1.2", tickets=False)
        holders = [visit(farm.listen, clients) for _ in range(3)]
        assert all(len(one.answer["issued"]) == 1 for one in holders)
        before = pid_of(farm, "s1")
        kill(before)
        eventually(lambda: pid_of(farm, "s1") != before)

        others = [visit(farm.listen, clients) for _ in range(3)]
        assert [one.answer["issued"] for one in others] == [[]] * 3
        back = [visit(farm.listen, clients, one.session) for one in holders]
        assert [one.reused for one in back] == [False] * 3
