"""The balancers, each a process of its own, in front of the same servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

import homing
from bench.balancing.clients import drive
from bench.balancing.hellos import by_id, identifiers, prefix
from bench.measuring.cpu import cpu_of
from bench.measuring.versions import program
from homing.farm.processes.run import COMMAND
from tests.processes import free_port

HOST = "127.0.0.1"
_START = 120.0
_STOP = 10.0

_ROOT = Path(homing.__file__).resolve().parents[1]

STICK_TABLE = """\
    stick-table type binary len 32 size 2m expire 30m
    acl clienthello req.ssl_hello_type 1
    acl serverhello res.ssl_hello_type 2
    tcp-request inspect-delay 5s
    tcp-response inspect-delay 5s
    tcp-request content accept if clienthello
    tcp-response content accept if serverhello
    stick on req.payload_lv(43,1) if clienthello
    stick store-response res.payload_lv(43,1) if serverhello
"""
"""HAProxy's recipe for persistence by SSL session ID.  It is the published one, but for two things
without which 2.6 loses IDs: `payload_lv` without `payload` behind it, and a response that waits."""


@attrs.frozen
class Backend:
    """The servers' process."""

    folder: Path
    ports: Sequence[int]
    pid: int


@attrs.frozen
class Balancer:
    """One that runs.  Direct access to a server is one without a process."""

    address: tuple[str, int]
    pids: tuple[int, ...] = ()
    start_cpu: float = 0.0
    """Seconds of CPU from its start until it answered."""


@contextmanager
def backend(folder: Path, servers: int) -> Iterator[Backend]:
    """The process of all servers, until the block ends."""
    command = [sys.executable, "-m", "bench.balancing.backend", str(folder), str(servers)]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ports = [int(port) for port in process.stdout.readline().split()]
        if not ports:
            raise SystemExit("the benchmark's backend does not start")
        yield Backend(folder, ports, process.pid)


@contextmanager
def haproxy(servers: Backend, persistence: str = "", options: str = "") -> Iterator[Balancer]:
    """HAProxy with one thread, round robin, and what `persistence` and `options` add to that."""
    port = free_port()
    lines = [f"    server s{at} {HOST}:{each}" for at, each in enumerate(servers.ports, 1)]
    config = servers.folder / f"haproxy-{port}.cfg"
    config.write_text(
        f"global\n    nbthread 1\n    maxconn 4096\n"
        f"defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n"
        f"    timeout server 60s\n{options}"
        f"listen farm\n    bind {HOST}:{port}\n    balance roundrobin\n{persistence}"
        + "\n".join(lines)
        + "\n"
    )
    with _answering([program("haproxy"), "-db", "-f", str(config)], port) as balancer:
        yield balancer


@contextmanager
def hand_off(servers: Backend, extra: str = "") -> Iterator[Balancer]:
    """A `homing balancer` that hands connections over; `extra` lines for its [balancer]."""

    def section(number: int) -> str:
        return f'address = "unix:{servers.folder}/s{number}.sock"\n'

    with _homing(servers, section, extra) as balancer:
        yield balancer


@contextmanager
def relay(servers: Backend, extra: str = "") -> Iterator[Balancer]:
    """A `homing balancer` that relays."""

    def section(number: int) -> str:
        address = f'"tcp:{HOST}:{servers.ports[number - 1]}"'
        return f"address = {address}\nmanaged = false\nprobe = false\n"

    with _homing(servers, section, extra) as balancer:
        yield balancer


@contextmanager
def direct(servers: Backend) -> Iterator[Balancer]:
    """No balancer: the clients go to the first server."""
    yield Balancer((HOST, servers.ports[0]))


@contextmanager
def _homing(servers: Backend, section: Callable[[int], str], extra: str) -> Iterator[Balancer]:
    """A `homing balancer` with one worker; the identifiers of `hellos.prefix` have their server."""
    numbers = range(1, len(servers.ports) + 1)
    listed = "".join(
        f'[[server]]\nname = "s{number}"\nids = {{ prefix = "{prefix(number).hex()}" }}\n'
        + section(number)
        for number in numbers
    )
    with homing_balancer(servers.folder, extra, listed) as balancer:
        yield balancer


@contextmanager
def homing_balancer(folder: Path, extra: str, sections: str) -> Iterator[Balancer]:
    """A `homing balancer` with one worker over these [[server]] sections."""
    port = free_port()
    config = folder / f"farm-{port}.toml"

    config.write_text(
        f'[farm]\nstate_dir = "state-{port}"\nregistry = "none"\n'
        f'[balancer]\nlisten = ["tcp:{port}:interface={HOST}"]\n{_workers()}{extra}'
        # All clients come from one address here, as a load test's do
        f"source_rate = 1_000_000.0\n{sections}"
    )
    with _answering([*COMMAND, "balancer", "--config", str(config)], port) as balancer:
        yield balancer


@cache
def _workers() -> str:
    """How a farm.toml says that there is one: not at all in a version that has never more."""
    one = "workers = 1\n"
    with TemporaryDirectory() as folder:
        config = Path(folder) / "farm.toml"
        config.write_text(f'[balancer]\n{one}[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n')
        command = [*COMMAND, "check", str(config)]
        checked = subprocess.run(command, env=_environment(), capture_output=True)
    return "" if checked.returncode else one


@contextmanager
def _answering(command: Sequence[str], port: int) -> Iterator[Balancer]:
    """The balancer that `command` runs, once it answers."""
    log = Path(command[-1]).with_suffix(".log")
    began = time.monotonic()
    with log.open("wb") as said, _process(command, stdout=said, stderr=said) as process:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - began > _START:
                raise SystemExit(f"{' '.join(command)} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield Balancer((HOST, port), (process.pid,), cpu_of([process.pid]))


def _answers(port: int) -> bool:
    """Whether a client gets an answer there."""
    try:
        driven = drive((HOST, port), [by_id().hello(identifiers(1, 1)[0])])
    except SystemExit:
        return False
    return not driven.failed


@contextmanager
def _process(command: Sequence[str], **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=_ROOT, env=_environment(), **streams)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(_ROOT)}
