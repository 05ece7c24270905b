"""A real Redis that can be killed, stopped and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reactor import HOST, eventually
from tests.server.running import free_port

SERVER = shutil.which("redis-server")


def _package() -> bool:
    try:
        import redis  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


needs_redis = pytest.mark.skipif(
    SERVER is None or not _package(),
    reason="redis-server is not installed" if SERVER is None else "the redis package is not",
)


class RedisProcess:
    """Redis on one port, which stays the same when it comes back; keeps nothing on disk."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.unix = folder / "redis.sock"
        self.url = f"redis://{HOST}:{self.port}/0"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def start(self) -> None:
        assert SERVER
        listen = ("--bind", HOST, "--port", str(self.port), "--unixsocket", str(self.unix))
        forget = ("--save", "", "--appendonly", "no", "--dir", str(self.folder))
        self._process = subprocess.Popen(
            [SERVER, *listen, *forget, "--loglevel", "warning", *self._arguments],
            stdout=subprocess.DEVNULL,
        )
        eventually(self._accepts, "Redis accepts connections")

    def kill(self) -> None:
        """As the kernel would when it runs out of memory."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """It hangs: its sockets stay open, and nobody answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            with suppress(OSError):
                probe.settimeout(1)
                probe.connect(str(self.unix))
                probe.sendall(b"PING\r\n")
                return bool(probe.recv(100))
        return False
