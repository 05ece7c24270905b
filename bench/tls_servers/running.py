"""Servers as processes: where they listen, and what is to be measured of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
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


Serve = Callable[[Path, Certificate], AbstractContextManager[Running]]
"""Runs something in a new folder until the block ends."""


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when somebody listens there.  Raises CannotRun."""
    wait_until(lambda: listens(port), process, log)


def wait_until(works: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the process works.  Raises CannotRun with the end of its log."""
    deadline = time.monotonic() + _WITHIN
    while not works():
        if not is_alive(process.pid) or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-2000:]
            raise CannotRun(f"{process.args!r} does not listen:\n{said}")
        time.sleep(0.02)
