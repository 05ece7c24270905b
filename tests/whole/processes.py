"""Real processes, their ports and their configuration."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from homing.farm.processes.local import LocalFarm

LISTEN = "tcp:0:interface=127.0.0.1"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens at a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(
    *command: str, cwd: Path, pass_fds: Collection[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with (cwd / f"{time.monotonic_ns()}.log").open("wb") as log:
        running_one = subprocess.Popen(
            command,
            cwd=cwd,
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


def pid_of(farm: LocalFarm, server: str) -> int:
    """The process number of a server."""
    (pid,) = [one["pid"] for one in farm.facts()["servers"] if one["name"] == server]
    return int(pid)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, not counting those that only wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def config_of(folder: Path, servers: str, listen: str = LISTEN, more: str = "") -> list[str]:
    """Write a farm.toml; returns the arguments that run it."""
    path = folder / "farm.toml"
    path.write_text(f'[farm]\nstate_dir="."\n[balancer]\nlisten=["{listen}"]\n{more}\n{servers}')
    return ["--config", str(path)]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for `condition`; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
