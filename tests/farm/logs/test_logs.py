"""Where the log of a process goes, and what of twistd's own stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from homing.farm.logs.logs import Logs
from homing.farm.processes.twistd import TWISTD
from homing.shared.errors import HomingError
from tests.farm.running import CODE, twistd
from tests.whole.processes import until

FARM = '[farm]\nstate_dir = "."\n[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
SERVER = ("homing-server", "--config", "farm.toml", "--name", "s1")
READY = "s1 takes connections at"


@contextmanager
def server(folder: Path, own: Sequence[str], *more: str) -> Iterator[Path]:
    """A server run alone, with twistd's `own` options; its standard output."""
    (folder / "farm.toml").write_text(FARM)
    out = folder / "out"
    command = [*TWISTD, "--pidfile=", *own, *SERVER, *more]
    with out.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CODE)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield out
    finally:
        process.terminate()
        process.wait(15)


def test_standard_output_is_ours_and_the_file_for_machines_beside_it(tmp_path: Path) -> None:
    with server(tmp_path, ["-n"], "--log-json", "log.json") as out:
        until(lambda: READY in out.read_text() and READY in (tmp_path / "log.json").read_text())
    (line,) = out.read_text().splitlines()
    assert line[8:].startswith(f" s1        {READY} unix:")
    (event,) = [json.loads(line) for line in (tmp_path / "log.json").read_text().splitlines()]
    assert (event["process"], event["name"], event["linkage"] in {"static", "dynamic"}) == (
        "s1",
        "s1",
        True,
    )


def test_a_log_file_of_twistds_stays_twistds(tmp_path: Path) -> None:
    log = tmp_path / "twistd.log"
    with server(tmp_path, ["-n", "--logfile", "twistd.log"], "--log-json", "log.json") as out:
        until(lambda: log.exists() and READY in log.read_text())
        until(lambda: READY in (tmp_path / "log.json").read_text())
    assert "[homing.server.service.TLSServer#info]" in log.read_text()
    assert out.read_text() == ""


def test_a_daemon_writes_both(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(FARM)
    command = [*TWISTD, "--pidfile=daemon.pid", *SERVER, "--log-json", "log.json"]
    environment = {**os.environ, "PYTHONPATH": str(CODE)}
    subprocess.run(command, cwd=tmp_path, env=environment, timeout=60, check=True)
    pid = int((tmp_path / "daemon.pid").read_text())
    try:
        until(lambda: READY in (tmp_path / "log.json").read_text())
        assert READY in (tmp_path / "twistd.log").read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not (tmp_path / "daemon.pid").exists())


def test_why_a_process_cannot_start_is_written_before_it_ends(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(FARM)
    (tmp_path / "s1.sock").touch()
    ran = twistd(*SERVER, "--log-json", "log.json", cwd=tmp_path)
    assert ran.status == 1
    assert "s1.sock is not a socket" in ran.said
    assert "s1.sock is not a socket" in (tmp_path / "log.json").read_text()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nowhere"])
def test_the_file_is_one_of_ours_and_no_link(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.json"
    target = tmp_path / "target"
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = tmp_path / "lost" / "log.json"
    with pytest.raises(HomingError, match=r"--log-json .*log\.json: "):
        Logs("s1", None, str(path))
    assert not target.exists()


def test_a_file_that_cannot_be_used_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(FARM)
    ran = twistd(*SERVER, "--log-json", "lost/log.json", cwd=tmp_path)
    assert (ran.status, ran.said) == (2, "--log-json lost/log.json: No such file or directory\n")
