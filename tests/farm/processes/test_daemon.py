"""twistd without -n: whoever starts a daemon hears whether it has started."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.processes import catches_sigterm, free_port, listens, twistd
from tests.reactor import eventually

CONFIG = """
[farm]
state_dir = "."
[balancer]
workers = 2
listen = ["tcp:{port}:interface=127.0.0.1"]
[[server]]
name = "s1"
address = "tcp:127.0.0.1:{other}"
"""

LOCKS = {
    "homing-farm": "lock",
    "homing-balancer": "lock-balancer-1-workers",
    "homing-server": "lock-s1",
}

PLUGINS = pytest.mark.parametrize(
    "plugin",
    [["homing-farm"], ["homing-balancer"], ["homing-server", "--name", "s1"]],
    ids=lambda one: one[0],
)


def config(folder: Path, plugin: list[str], port: int) -> None:
    """A farm.toml in which `plugin` is what listens at `port`."""
    other = free_port()
    ports = (other, port) if plugin[0] == "homing-server" else (port, other)
    (folder / "farm.toml").write_text(CONFIG.format(port=ports[0], other=ports[1]))


@PLUGINS
def test_a_daemon_that_cannot_listen_says_so_and_ends_with_status_1(
    tmp_path: Path, plugin: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        config(tmp_path, plugin, port)
        ran = twistd(*plugin, "--config", "farm.toml", cwd=tmp_path)
    assert ran.status == 1
    assert f"cannot listen at tcp:{port}" in ran.err or f"tcp:127.0.0.1:{port}" in ran.err
    assert "in use" in ran.err
    eventually(lambda: not (tmp_path / "twistd.pid").exists())  # it tells of its end before
    if plugin[0] == "homing-server":  # the others listen before they become daemons
        assert "Address already in use" in (tmp_path / "twistd.log").read_text()


@PLUGINS
def test_a_daemon_that_listens_ends_its_start_with_status_0(
    tmp_path: Path, plugin: list[str]
) -> None:
    port = free_port()
    config(tmp_path, plugin, port)
    ran = twistd(*plugin, "--config", "farm.toml", cwd=tmp_path)
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        assert (ran.status, ran.said) == (0, "")
        eventually(lambda: listens(port) and catches_sigterm(pid))
        lock = tmp_path / LOCKS[plugin[0]]
        eventually(lambda: lock.read_text() == f"{pid}\n")  # the daemon's own number
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not (tmp_path / "twistd.pid").exists())
