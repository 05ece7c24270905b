"""A farm of real processes that is reconfigured, over either registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from homing.farm.config.farm_toml import load
from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from homing.farm.registries import Place, place_of
from homing.shared.addresses import split_host_and_port
from tests.etcd_process import one_etcd
from tests.processes import free_port, local_servers

FIRST, SECOND = "balancer-1", "balancer-2"
_HOST = "127.0.0.1"
_TICK = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Setting:
    """What is varied."""

    registry: str
    """sqlite or etcd; over etcd there are two balancers."""
    scheme: str
    resumption: str

    def __str__(self) -> str:
        return f"{self.registry}-{self.scheme}-{self.resumption}"

    @property
    def words(self) -> str:
        """For people."""
        registry = "SQLite" if self.registry == "sqlite" else "etcd, two balancers"
        return f'{registry}; scheme "{self.scheme}", resumption "{self.resumption}"'


class CommandFailed(Exception):
    """A command did not do what it was asked."""


class Farm:
    """Balancers and servers that run; `second` runs beside what `homing farm` runs."""

    def __init__(self, local: LocalFarm, config: Path, second: Second | None) -> None:
        self._local = local
        self._second = second
        self.config = config

    @property
    def place(self) -> Place:
        """Its registry."""
        found = place_of(load(self.config))
        assert found is not None
        return found

    @property
    def ca(self) -> Path:
        """Who signed its certificate."""
        return self._local.ca

    @property
    def log(self) -> str:
        """What its processes have said."""
        logs = [self._local.log, *([self._second.log] if self._second else [])]
        return "\n".join(one.read_text(errors="replace") for one in logs)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where its balancers listen."""
        second = [self._second.address] if self._second else []
        return [split_host_and_port(self._local.listen), *second]

    def pid(self, balancer: str) -> int:
        """The process of a balancer."""
        if balancer == SECOND:
            assert self._second is not None
            return self._second.process.pid
        return int(self._local.facts()["balancer_pid"])

    def kill(self, balancer: str) -> None:
        """Kill a balancer; it starts again, as under `homing farm` or an init system."""
        os.kill(self.pid(balancer), SIGKILL)
        if balancer == SECOND and self._second is not None:
            self._second.process.wait()
            self._second.start()

    async def command(self, *words: str) -> None:
        """Run a `homing` command, and wait until what it asks for is done.

        Raises CommandFailed.
        """
        arguments = [*COMMAND[1:], *words, "--config", str(self.config)]
        _, said, status = await getProcessOutputAndValue(COMMAND[0], arguments, os.environ)
        if status:
            raise CommandFailed(f"homing {' '.join(words)}: {status}: {said.decode()}")


class Second:
    """The second balancer."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.address = (_HOST, free_port())
        self.log = folder / f"{SECOND}.log"
        listen = f"tcp:{self.address[1]}:interface={_HOST}"
        self._command = [*COMMAND, "balancer", "--config", str(config), "--name", SECOND]
        self._command += ["--listen", listen]
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(SIGTERM)
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def reconfigurable(folder: Path, setting: Setting, lifetime: int) -> Iterator[Farm]:
    """A farm of four servers that runs until the block ends."""
    with ExitStack() as stack:
        registry = "sqlite:registry.sqlite"
        if setting.registry == "etcd":
            registry = f"etcd:{stack.enter_context(one_etcd()).client}"
        config = folder / "farm.toml"
        config.write_text(
            f'[farm]\nstate_dir = "."\nregistry = "{registry}"\nlog_connections = true\n'
            f'[balancer]\nlisten = ["tcp:0:interface={_HOST}"]\nlog_decisions = true\nworkers = 1\n'
            f'[session_ids]\nscheme = "{setting.scheme}"\nlifetime = {lifetime}\n'
            f'resumption = "{setting.resumption}"\n' + local_servers("s1", "s2", "s3", "s4")
        )
        local = stack.enter_context(running(folder, ["--config", str(config)]))
        second = None
        if setting.registry == "etcd":
            second = Second(folder, config)
            stack.callback(second.stop)
        yield Farm(local, config, second)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
