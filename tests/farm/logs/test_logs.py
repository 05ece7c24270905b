"""Where the log of a process goes, and what of twistd's own stays."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homing.farm.logs.logs import Logs
from homing.farm.processes.run import COMMAND
from homing.shared.errors import HomingError
from tests.processes import TWISTD, catches_sigterm, homing, process, twistd
from tests.reactor import eventually

FARM = '[farm]\nstate_dir = "."\n[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
SERVER = ("server", "--config", "farm.toml", "--name", "s1")
PLUGIN = ("homing-server", *SERVER[1:])
READY = "s1 takes connections at"


@contextmanager
def server(folder: Path, *command: str) -> Iterator[Path]:
    """A server run alone; its standard output."""
    (folder / "farm.toml").write_text(FARM)
    with process(*command, "--log-json", "log.json", cwd=folder, out=folder / "out"):
        yield folder / "out"


def test_standard_output_is_ours_and_the_file_for_machines_beside_it(tmp_path: Path) -> None:
    with server(tmp_path, *COMMAND, *SERVER) as out:
        for path in (out, tmp_path / "log.json"):
            eventually(lambda: path.exists() and READY in path.read_text())  # noqa: B023
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
    with server(tmp_path, *TWISTD, "-n", "--logfile=twistd.log", "--pidfile=", *PLUGIN) as out:
        eventually(lambda: log.exists() and READY in log.read_text())
        eventually(lambda: READY in (tmp_path / "log.json").read_text())
    assert "[homing.server.service.TLSServer#info]" in log.read_text()
    assert out.read_text() == ""


def test_a_daemon_writes_both(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(FARM)
    assert (
        twistd("--pidfile=daemon.pid", *PLUGIN, "--log-json", "log.json", cwd=tmp_path).status == 0
    )
    pid = int((tmp_path / "daemon.pid").read_text())
    try:
        eventually(lambda: READY in (tmp_path / "log.json").read_text())
        assert READY in (tmp_path / "twistd.log").read_text()
        eventually(lambda: catches_sigterm(pid))
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not (tmp_path / "daemon.pid").exists())


def test_why_a_process_cannot_start_is_written_before_it_ends(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(FARM)
    (tmp_path / "s1.sock").touch()
    ran = homing(*SERVER, "--log-json", "log.json", cwd=tmp_path)
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
    ran = homing(*SERVER, "--log-json", "lost/log.json", cwd=tmp_path)
    assert (ran.status, ran.said) == (2, "--log-json lost/log.json: No such file or directory\n")
