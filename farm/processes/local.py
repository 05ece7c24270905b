"""A farm as a child process: for measuring it and for testing it whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from homing.farm.processes.run import COMMAND
from homing.server.files import replace
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError

_START = 200.0  # longer than a farm tries to start
_STOP = 8.0


@attrs.frozen
class LocalFarm:
    """A running farm."""

    state_dir: Path
    process: subprocess.Popen[bytes]

    def facts(self) -> dict[str, Any]:
        """What its farm.json says now."""
        facts: dict[str, Any] = json.loads((self.state_dir / "farm.json").read_text())
        return facts

    @property
    def listen(self) -> str:
        """HOST:PORT of its balancer."""
        listen: str = self.facts()["listen"]
        return listen

    @property
    def ca(self) -> Path:
        """The certificate of its CA."""
        return self.state_dir / "ca.pem"

    @property
    def log(self) -> Path:
        """What its processes say."""
        return self.state_dir / "farm.log"


@contextmanager
def running(state_dir: Path, arguments: Sequence[str]) -> Iterator[LocalFarm]:
    """A `homing farm` with `arguments`, from when it is ready until the block ends.

    Its output goes to ``farm.log`` in `state_dir`.  Raises HomingError when it does not start.
    """
    owned_folder(state_dir)
    command = [*COMMAND, "farm", *arguments]
    replace(state_dir / "farm.log", b"")  # a new file, whatever a link may lead to
    with (state_dir / "farm.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    farm = LocalFarm(state_dir, process)
    try:
        _wait_until_ready(farm)
        yield farm
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(farm: LocalFarm) -> None:
    deadline = time.monotonic() + _START
    while not _is_ready(farm):
        if farm.process.poll() is not None or time.monotonic() > deadline:
            said = farm.log.read_text(errors="replace")[-2000:]
            raise HomingError(f"the farm did not start:\n{said}")
        time.sleep(0.02)


def _is_ready(farm: LocalFarm) -> bool:
    """Whether there is a farm.json of this process, not one that an earlier farm left."""
    try:
        return bool(farm.facts()["pid"] == farm.process.pid)
    except (FileNotFoundError, ValueError, KeyError):
        return False
