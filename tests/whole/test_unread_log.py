"""A log that nobody reads costs lines of the log, and no client anything."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from homing.farm.processes.local import LocalFarm
from homing.farm.processes.run import COMMAND
from tests.processes import LISTEN, config_of, free_port, listens, local_servers
from tests.reactor import eventually
from tests.whole.clients import connect, context, visit

SMALLEST_PIPE = 4096
VISITS = 100


@attrs.frozen
class Unread:
    """A process whose standard output is a pipe."""

    process: subprocess.Popen[bytes]
    reader: int

    def read(self, pattern: str, times: int = 1, seconds: float = 20.0) -> str:
        """Read what it says, until that has `pattern` so many times."""
        os.set_blocking(self.reader, False)
        said = b""
        deadline = time.monotonic() + seconds
        while len(re.findall(pattern, said.decode(errors="replace"))) < times:
            assert time.monotonic() < deadline, said[-2000:]
            try:
                more = os.read(self.reader, 65536)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            assert more, f"it ended: {said[-2000:]!r}"
            said += more
        return said.decode(errors="replace")


@contextmanager
def unread(cwd: Path, *arguments: str) -> Iterator[Unread]:
    """A plugin of twistd whose log nobody reads, through the smallest pipe there is."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    command = [*COMMAND, *arguments]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    try:
        yield Unread(process, reader)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            os.close(reader)


def narrow(running: LocalFarm) -> None:
    """Make the pipes from the farm's processes to their parent as small as can be."""
    facts = running.facts()
    for pid in [facts["balancer_pid"], *(one["pid"] for one in facts["servers"])]:
        for descriptor in (1, 2):
            pipe = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_WRONLY)
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
            os.close(pipe)


def everybody_is_served_and_resumes(listen: str, ca: Path) -> None:
    """`VISITS` clients come, and come back."""

    def come_and_come_back(clients: ssl.SSLContext) -> bool:
        first = visit(listen, clients)
        return visit(listen, clients, first.session).reused

    contexts = [context(ca, "TLSv1.2") for _ in range(VISITS)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(come_and_come_back, contexts)) == [True] * VISITS


@contextmanager
def unread_farm(folder: Path) -> Iterator[tuple[Unread, LocalFarm]]:
    """A farm whose log is read until it is ready, and then no more."""
    arguments = ("--servers", "2", "--listen", LISTEN, "--state-dir", str(folder))
    with unread(folder, "farm", *arguments) as one:
        one.read("homing-farm ready")
        running = LocalFarm(folder, one.process)
        narrow(running)
        yield one, running


def test_a_farm_whose_log_nobody_reads_serves_everybody(tmp_path: Path) -> None:
    with unread_farm(tmp_path) as (one, its):
        everybody_is_served_and_resumes(its.listen, its.ca)
        one.read(connection_line("resumed by ticket [0-9a-f]+"), VISITS)


def connection_line(what: str) -> str:
    return rf"127\.0\.0\.1:\d+ TLSv1\.2 {what}"


def test_a_farm_whose_supervisor_is_stopped_serves_everybody(tmp_path: Path) -> None:
    with unread_farm(tmp_path) as (one, its):
        one.process.send_signal(signal.SIGSTOP)
        everybody_is_served_and_resumes(its.listen, its.ca)
        one.process.send_signal(signal.SIGCONT)
        one.read(connection_line("new session: it brought nothing"), VISITS)


@pytest.mark.parametrize("reader", ["reads nothing", "has gone"])
def test_processes_run_alone_serve_everybody_though_their_reader(
    tmp_path: Path, reader: str
) -> None:
    port = free_port()
    (tmp_path / "farm.toml").write_text(
        '[farm]\nstate_dir = "."\nlog_connections = true\n'
        f'[balancer]\nlisten = ["tcp:{port}:interface=127.0.0.1"]\nlog_decisions = true\n'
        + local_servers("s1")
    )
    config = ("--config", "farm.toml")
    with unread(tmp_path, "server", *config, "--name", "s1") as server:
        eventually(lambda: (tmp_path / "s1.sock").exists())
        with unread(tmp_path, "balancer", *config) as balancer:
            eventually(lambda: listens(port))
            if reader == "has gone":
                for one in (server, balancer):
                    os.dup2(os.open(os.devnull, os.O_RDONLY), one.reader)
            at, ca = f"127.0.0.1:{port}", tmp_path / "ca.pem"
            eventually(lambda: visit(at, context(ca, "TLSv1.3")).answer["issued"])
            everybody_is_served_and_resumes(at, ca)


NOISY = """
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

class Noisy(Protocol):
    def dataReceived(self, data):
        for number in range(3000):
            Logger().info("{number} {much}", number=number, much=1000 * "x")
        self.transport.write(b"done")

factory = Factory.forProtocol(Noisy)
"""


def test_lines_that_were_dropped_are_counted_when_somebody_reads_again(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    port = free_port()
    address = f"tcp:127.0.0.1:{port}"
    noisy = f'[[server]]\nname = "s1"\naddress = "{address}"\napp = "noisy:factory"\n'
    with unread(tmp_path, "server", *config_of(tmp_path, noisy), "--name", "s1") as server:
        eventually(lambda: listens(port))
        said_by_app(port, tmp_path / "ca.pem")
        log = server.read("lines of the log are missing here")
        (missing,) = re.findall(r"warn: (\d+) lines of the log are missing here", log)
        there = re.findall(r"s1 +(\d+) x+\n", log)
        assert there == [str(number) for number in range(len(there))]
        assert 0 < len(there) == 3000 - int(missing)


def said_by_app(port: int, ca: Path) -> None:
    with connect(f"127.0.0.1:{port}", context(ca, "TLSv1.3")) as connection:
        connection.sendall(b"hello")
        assert connection.recv(4) == b"done"
