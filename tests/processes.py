"""Homing as users run it: processes, their ports and their configuration."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

import homing as package
from homing.farm.config.sections import DEFAULT_REGISTRY
from homing.farm.processes.local import LocalFarm, running
from homing.farm.processes.run import COMMAND
from homing.shared.addresses import split_host_and_port
from tests.reactor import eventually

LISTEN = "tcp:0:interface=127.0.0.1"
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")

PLANES: dict[str, list[str]] = {"hand-off": [], "relay": ["--relay"]}
"""Data planes, and the options of a demo farm that has them."""

_WITHIN = 60
"""Seconds that any command may take on a slow machine."""


def _environment() -> dict[str, str]:
    """That of this process, in which twistd finds our plugins."""
    here = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return here | {"PYTHONPATH": str(Path(package.__file__).parents[1])}


@attrs.frozen
class Ran:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All it wrote."""
        return self.out + self.err


def ran(*command: str | Path, cwd: Path, **environment: str) -> Ran:
    """Run a command that is to end by itself in the folder `cwd`."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=_WITHIN,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def homing(*arguments: str | Path, cwd: Path, **environment: str) -> Ran:
    """Run the `homing` command."""
    return ran(*COMMAND, *arguments, cwd=cwd, **environment)


def twistd(*arguments: str | Path, cwd: Path) -> Ran:
    """Start a daemon by twistd, or ask it for help."""
    return ran(*TWISTD, *arguments, cwd=cwd)


def at_once(*runs: Callable[[], Ran]) -> list[Ran]:
    """The outcomes of commands that run at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda run: run(), runs))


@contextmanager
def process(
    *command: str, cwd: Path, out: Path | None = None, pass_fds: Collection[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and writes to `out`."""
    with (out or cwd / f"{time.monotonic_ns()}.log").open("wb") as log:
        running_one = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=pass_fds,
        )
    try:
        yield running_one
    finally:
        running_one.terminate()
        running_one.wait(15)


def demo_farm(folder: Path, *options: str, workers: int = 1) -> AbstractContextManager[LocalFarm]:
    """A demo farm whose state is in `folder`, from when it is ready until the block ends."""
    where = ["--listen", LISTEN, "--state-dir", str(folder), "--workers", str(workers)]
    return running(folder, [*where, *options])


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def listens(at: int | str) -> bool:
    """Whether somebody listens at HOST:PORT, or at a port of the loopback interface."""
    address = split_host_and_port(at) if isinstance(at, str) else ("127.0.0.1", at)
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def pid_of(farm: LocalFarm, server: str) -> int:
    """The process number of a server."""
    (pid,) = [one["pid"] for one in farm.facts()["servers"] if one["name"] == server]
    return int(pid)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, not counting those that only wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or going
        return False


def catches_sigterm(pid: int) -> bool:
    """Whether its reactor runs: only then does it end cleanly."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def local_servers(*names: str, more: str = "") -> str:
    """The sections of farm.toml for servers that get their connections by hand-off."""
    return "".join(f'[[server]]\nname="{n}"\naddress="unix:{n}.sock"\n{more}\n' for n in names)


def config_of(
    folder: Path,
    servers: str,
    listen: str = LISTEN,
    more: str = "",
    registry: str = DEFAULT_REGISTRY,
    workers: int = 1,
) -> list[str]:
    """Write a farm.toml; returns the arguments that run it."""
    path = folder / "farm.toml"
    head = f'[farm]\nstate_dir="."\nregistry="{registry}"\n'
    path.write_text(f'{head}[balancer]\nlisten=["{listen}"]\nworkers={workers}\n{more}\n{servers}')
    return ["--config", str(path)]
