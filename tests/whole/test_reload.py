"""SIGHUP on real processes: new certificates and rules, and nobody loses anything."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from tests.processes import config_of, free_port, is_alive, local_servers, pid_of, process
from tests.reactor import eventually
from tests.whole.clients import CARRIERS, ask, connect, context, visit
from tests.whole.returning import returning

SERVERS = local_servers("s1", "s2")
LOGS = "log_decisions = true\n"
CACHE = "session_ids.cache: 20480 -> 7: needs a restart"


class Reloaded:
    """A farm whose farm.toml can change."""

    def __init__(self, farm: LocalFarm) -> None:
        self.farm = farm
        self.path = farm.state_dir / "farm.toml"
        self.killed = False
        """Whether a test has killed some of it."""

    def says(self, words: str, since: int = 0) -> bool:
        """Whether its log has these words."""
        return words in self.farm.log.read_text(errors="replace")[since:]

    def hang_up(self, *words: str) -> None:
        """Send SIGHUP, and wait until these words are logged."""
        since = len(self.farm.log.read_text(errors="replace"))
        self.farm.process.send_signal(signal.SIGHUP)
        for one in words:
            eventually(lambda one=one: self.says(one, since))  # type: ignore[misc]

    def pids(self) -> list[int]:
        """All of its processes."""
        facts = self.farm.facts()
        servers = [one["pid"] for one in facts["servers"]]
        return [self.farm.process.pid, facts["balancer_pid"], *servers]


@pytest.fixture(scope="module", name="shared_farm")
def shared_farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    folder = tmp_path_factory.mktemp("reloaded")
    with running(folder, config_of(folder, SERVERS, more=LOGS)) as farm:
        yield Reloaded(farm)


@pytest.fixture(name="reloaded")
def reloaded_(shared_farm: Reloaded) -> Iterator[Reloaded]:
    """A farm of two servers; its file is put back, and nothing of it has died."""
    text, pids = shared_farm.path.read_text(), shared_farm.pids()
    yield shared_farm
    shared_farm.path.write_text(text)
    shared_farm.hang_up("read again")
    assert shared_farm.killed or shared_farm.pids() == pids
    shared_farm.killed = False


def serial_at(farm: LocalFarm) -> int:
    """The serial number of the certificate that a new client gets; its CA is not asked."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with connect(farm.listen, anybody) as one:
        from cryptography import x509

        return x509.load_der_x509_certificate(
            one.getpeercert(binary_form=True) or b""
        ).serial_number


def test_a_new_certificate_is_served_and_no_session_or_connection_ends(reloaded: Reloaded) -> None:
    farm = reloaded.farm
    clients = {name: make(farm.ca) for name, make in CARRIERS.items()}
    homes = {name: visit(farm.listen, one) for name, one in clients.items()}
    ongoing = connect(farm.listen, clients["TLS 1.3"])
    before = serial_at(farm)
    (farm.state_dir / "fresh").mkdir()
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(farm.state_dir / name, farm.state_dir / "fresh" / name)
    fresh = demo_certificates(farm.state_dir / "fresh")  # another leaf of the same CA
    for name in ("server.pem", "server-key.pem"):
        shutil.copy(fresh.folder / name, farm.state_dir / name)
    reloaded.hang_up("read again", "server.pem is in force")
    eventually(lambda: all(serial_at(farm) != before for _ in range(6)))
    for name, one in clients.items():
        seen = visit(farm.listen, one, homes[name].session)
        assert seen.reused, name
        assert seen.answer["server"] == homes[name].answer["server"]
    assert ask(ongoing)["server"]


def test_a_certificate_that_does_not_fit_its_key_costs_nothing(reloaded: Reloaded) -> None:
    farm = reloaded.farm
    kept = {name: (farm.state_dir / name).read_bytes() for name in ("server.pem", "server-key.pem")}
    before = serial_at(farm)
    stranger = demo_certificates(farm.state_dir / "stranger")
    shutil.copy(stranger.key, farm.state_dir / "server-key.pem")
    reloaded.hang_up("server-key.pem are not a certificate", "everything stays as it was")
    assert serial_at(farm) == before
    for name, content in kept.items():
        (farm.state_dir / name).write_bytes(content)


def test_another_policy_is_in_force_for_the_next_connection(reloaded: Reloaded) -> None:
    farm, clients = reloaded.farm, context(reloaded.farm.ca, "TLSv1.2")
    assert {visit(farm.listen, clients).answer["server"] for _ in range(6)} == {"s1", "s2"}
    text = reloaded.path.read_text()
    reloaded.path.write_text(text.replace(LOGS, f'{LOGS}policy = "source-hash"\n'))
    reloaded.hang_up("balancer.policy: round-robin -> source-hash: in force")
    assert len({visit(farm.listen, clients).answer["server"] for _ in range(6)}) == 1


@pytest.mark.parametrize("fault", ["policy = 'nobody'\n", "not toml", None])
def test_an_invalid_file_is_said_and_changes_nothing(reloaded: Reloaded, fault: str | None) -> None:
    farm, clients = reloaded.farm, context(reloaded.farm.ca, "TLSv1.3")
    home = visit(farm.listen, clients)
    if fault is None:
        reloaded.path.unlink()
    else:
        reloaded.path.write_text(reloaded.path.read_text().replace(LOGS, LOGS + fault))
    reloaded.hang_up(f"SIGHUP: {reloaded.path}: ", "everything stays as it was")
    assert visit(farm.listen, clients, home.session).reused


def test_a_process_started_after_a_change_of_ids_agrees_with_those_before(
    reloaded: Reloaded,
) -> None:
    """Who owns what is applied by nobody, not even by those that start again."""
    farm, clients = reloaded.farm, context(reloaded.farm.ca, "TLSv1.2")
    text = reloaded.path.read_text()
    servers = text.replace('s1.sock"', 's1.sock"\nids = { prefix = "aa" }')
    reloaded.path.write_text(servers.replace('s2.sock"', 's2.sock"\nids = { prefix = "bb" }'))
    reloaded.hang_up('server "s1".ids: not set -> ', "needs a restart of the whole farm")
    reloaded.killed = True
    for victim in ("s1", "balancer"):
        before = farm.facts()
        pid = before["balancer_pid"] if victim == "balancer" else pid_of(farm, victim)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda before=before: farm.facts() != before)  # type: ignore[misc]
    homes = [visit(farm.listen, clients) for _ in range(4)]
    assert {home.answer["server"] for home in homes} == {"s1", "s2"}
    for home in homes:
        assert visit(farm.listen, clients, home.session).reused, "they do not agree"
    reloaded.path.write_text(text)


def test_fifty_signals_in_a_row_under_load_cost_nothing(reloaded: Reloaded) -> None:
    farm = reloaded.farm
    ongoing = connect(farm.listen, context(farm.ca, "TLSv1.3"))
    with returning(farm) as returns:
        for _ in range(50):
            farm.process.send_signal(signal.SIGHUP)
            for pid in reloaded.pids():
                os.kill(pid, signal.SIGHUP)
            returns.more(1)
    assert returns.lost() == []
    assert ask(ongoing)["server"]


@contextmanager
def alone(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process without homing farm, and its log."""
    log = folder / f"{arguments[0]}.log"
    with process(*COMMAND, *arguments, cwd=folder, out=log) as one:
        yield one, log


def test_processes_that_run_alone_say_themselves_what_needs_a_restart(tmp_path: Path) -> None:
    address = f"tcp:127.0.0.1:{free_port()}"
    (tmp_path / "ids").write_text("".join(f"484f4d45{n:04x}\n" for n in range(64)))
    servers = f'[[server]]\nname = "s1"\naddress = "{address}"\nids = {{ list_file = "ids" }}\n'
    arguments = config_of(tmp_path, servers)
    with (
        alone(tmp_path, "server", *arguments, "--name", "s1") as (server, server_log),
        alone(tmp_path, "balancer", *arguments) as (balancer, balancer_log),
    ):
        eventually(lambda: "takes connections" in server_log.read_text())
        eventually(lambda: "listens at" in balancer_log.read_text())
        config_of(tmp_path, servers, more=f"{LOGS}[session_ids]\ncache = 7")
        for one, log in ((server, server_log), (balancer, balancer_log)):
            for times in (1, 2):  # what is not in force is said again, and nothing besides
                one.send_signal(signal.SIGHUP)
                eventually(lambda: log.read_text().count(CACHE) == times)  # noqa: B023
            assert log.read_text().count("needs a restart") == 2
        eventually(lambda: "log_decisions: false -> true: in force" in balancer_log.read_text())
        eventually(lambda: "server.pem is in force" in server_log.read_text())
        for one in (server, balancer):  # also while it stops
            one.terminate()
            for _ in range(20):
                if one.poll() is None:
                    one.send_signal(signal.SIGHUP)
            assert one.wait(15) == -signal.SIGTERM


def test_signals_during_start_and_stop_kill_nobody(tmp_path: Path) -> None:
    arguments = config_of(tmp_path, SERVERS)
    with alone(tmp_path, "farm", *arguments) as (one, log):
        caught = f"/proc/{one.pid}/status"

        def waits_or_is_caught() -> bool:
            lines = dict(line.split(":\t", 1) for line in Path(caught).read_text().splitlines())
            return bool((int(lines["SigBlk"], 16) | int(lines["SigCgt"], 16)) & 1)

        eventually(waits_or_is_caught)
        while not (tmp_path / "farm.json").exists():
            assert one.poll() is None, log.read_text()
            one.send_signal(signal.SIGHUP)
            for child in children_of(one.pid):
                os.kill(child, signal.SIGHUP)
        assert "ended" not in log.read_text()
        farm = LocalFarm(tmp_path, one)
        assert visit(farm.listen, context(farm.ca, "TLSv1.3")).answer["server"]
        children = children_of(one.pid)
        one.terminate()
        while one.poll() is None:
            one.send_signal(signal.SIGHUP)
        assert one.returncode == -signal.SIGTERM
        assert not any(is_alive(child) for child in children)
        assert not list(tmp_path.glob("*.sock"))


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
