"""Servers as processes: where they listen, and what is to be measured of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import attrs

from tests.processes import is_alive, listens

_WITHIN = 30.0
"""Seconds until a server must listen."""


class CannotRun(Exception):
    """Something is missing, or did not start; the words are for the person who measures."""


@attrs.frozen
class Certificate:
    """What all servers have: ECDSA with P-256."""

    chain: Path
    key: Path


@attrs.frozen
class Running:
    """A server, or a farm, that runs."""

    port: int
    """Of the loopback interface."""
    pids: tuple[int, ...]
    """Processes that count, with all below them."""


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when somebody listens there.  Raises CannotRun."""
    deadline = time.monotonic() + _WITHIN
    while not listens(port):
        if not is_alive(process.pid) or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-2000:]
            raise CannotRun(f"{process.args!r} does not listen:\n{said}")
        time.sleep(0.02)
