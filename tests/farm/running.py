"""The `homing` command and the twistd plugins as users run them: processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from homing.farm import config
from homing.farm.processes.twistd import FOREGROUND, TWISTD

WITHIN = 60
"""Seconds that any command may take on a slow machine."""

_HOMING = "from farm.commands import main; import sys; sys.exit(main())"
CODE = Path(config.__file__).parents[3]
_PASSED_ON = {key: value for key, value in os.environ.items() if key != "COLUMNS"}


@attrs.frozen
class Ran:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All it wrote."""
        return self.out + self.err


def homing(*arguments: str | Path, cwd: Path, **environment: str) -> Ran:
    """Run the `homing` command in the folder `cwd`."""
    return _run([sys.executable, "-c", _HOMING, *map(str, arguments)], cwd, environment)


def twistd(*arguments: str | Path, cwd: Path) -> Ran:
    """Run a plugin of twistd that is to end by itself in the folder `cwd`."""
    return _run([*FOREGROUND, *map(str, arguments)], cwd, {})


def daemon(*arguments: str | Path, cwd: Path) -> Ran:
    """Start a plugin of twistd as a daemon that logs to ``twistd.log`` in the folder `cwd`."""
    return _run([*TWISTD, *map(str, arguments)], cwd, {})


def python(script: str, cwd: Path) -> Ran:
    """Run a script in the folder `cwd`."""
    return _run([sys.executable, "-c", script], cwd, {})


def at_once(*runs: Callable[[], Ran]) -> list[Ran]:
    """The outcomes of commands that run at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda run: run(), runs))


def _run(command: list[str], cwd: Path, environment: dict[str, str]) -> Ran:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**_PASSED_ON, "PYTHONPATH": str(CODE), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WITHIN,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
