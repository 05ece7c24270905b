"""twistd without -n: whoever starts a daemon hears whether it has started."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.farm.running import daemon
from tests.whole.processes import free_port, listens, until

CONFIG = """
[farm]
state_dir = "."
[balancer]
listen = ["tcp:{port}:interface=127.0.0.1"]
[[server]]
name = "s1"
address = "tcp:127.0.0.1:{port}"
"""

PLUGINS = pytest.mark.parametrize(
    "plugin", [["homing-balancer"], ["homing-server", "--name", "s1"]], ids=lambda one: one[0]
)


@PLUGINS
def test_a_daemon_that_cannot_listen_says_so_and_ends_with_status_1(
    tmp_path: Path, plugin: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        (tmp_path / "farm.toml").write_text(CONFIG.format(port=port))
        ran = daemon(*plugin, "--config", "farm.toml", cwd=tmp_path)
    assert ran.status == 1
    assert f"cannot listen at tcp:{port}" in ran.err or f"tcp:127.0.0.1:{port}" in ran.err
    assert "in use" in ran.err
    assert not (tmp_path / "twistd.pid").exists()
    assert "Address already in use" in (tmp_path / "twistd.log").read_text()


@PLUGINS
def test_a_daemon_that_listens_ends_its_start_with_status_0(
    tmp_path: Path, plugin: list[str]
) -> None:
    port = free_port()
    (tmp_path / "farm.toml").write_text(CONFIG.format(port=port))
    ran = daemon(*plugin, "--config", "farm.toml", cwd=tmp_path)
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        assert (ran.status, ran.said) == (0, "")
        until(lambda: listens(port))
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not (tmp_path / "twistd.pid").exists())
