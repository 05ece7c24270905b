"""Real etcd processes that can be killed, stopped and started again."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reactor import HOST, eventually
from tests.server.running import free_port

ETCD = shutil.which("etcd")
needs_etcd = pytest.mark.skipif(ETCD is None, reason="etcd is not installed (etcd-server)")

FAST = Path("/dev/shm")
"""Where writing does not wait for a disk: a slow one has nothing to do with what is tested."""


class EtcdProcess:
    """One member; its ports stay the same when it comes back."""

    def __init__(
        self,
        folder: Path,
        name: str = "default",
        tls: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.folder = folder / name
        scheme = "https" if tls else "http"
        self.port = free_port()
        self.client = f"{scheme}://{HOST}:{self.port}"
        self.peer = f"{scheme}://{HOST}:{free_port()}"
        self.log = folder / f"{name}.log"
        self._tls = tls
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str = "") -> None:
        assert ETCD
        listen = ("--listen-client-urls", self.client, "--advertise-client-urls", self.client)
        peers = ("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer)
        command = [ETCD, "--name", self.name, "--data-dir", str(self.folder), *listen, *peers]
        command += ["--initial-cluster", cluster or f"{self.name}={self.peer}", "--logger", "zap"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*command, *self._tls], stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process:
            self.go_on()
            self._process.kill()
            self._process.wait()

    def hang(self) -> None:
        """Its sockets stay open, and nobody answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Ask it as curl would."""
        request = urllib.request.Request(self.client + path, json.dumps(fields).encode())
        with urllib.request.urlopen(request, timeout=20, context=self._context) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def compact(self) -> None:
        """Forget all but the last revision."""
        key = base64.b64encode(b"x").decode()
        revision = self.post("/v3/kv/range", key=key)["header"]["revision"]
        self.post("/v3/kv/compaction", revision=revision, physical=True)

    def leads(self) -> bool:
        status = self.post("/v3/maintenance/status")
        return bool(status["leader"] == status["header"]["member_id"])

    def works(self) -> bool:
        try:
            return "header" in self.post("/v3/kv/range", key="eA==")
        except OSError:
            return False


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder for etcd's data."""
    where = str(FAST) if FAST.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="homing-etcd-", dir=where) as folder:
        yield Path(folder)


@contextmanager
def one_etcd() -> Iterator[EtcdProcess]:
    """A cluster of one member without TLS."""
    with fast_folder() as folder:
        member = EtcdProcess(folder)
        member.start()
        try:
            eventually(member.works, "etcd works")
            yield member
        finally:
            member.kill()
