"""A lock held until the process ends: one farm per state folder, one process per server.

The kernel releases it when the last process that inherited the descriptor has ended, however it
ended.  So whoever waits for the lock of a killed farm waits for that farm's servers too.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from homing.farm.config.faults import CannotStart
from homing.server.files import opened
from homing.server.ownership import owned_folder

PATIENCE = 6.0
"""Seconds that a start waits for the lock: a farm that stops ends within 5."""

_PAUSE = 0.05
_LONGEST = 32


class Lock:
    """The lock at `path`, taken; take it before anything else in the folder is touched.

    When another process holds it, `waits` is called once with a message, and the lock is tried for
    `patience` seconds.  Raises CannotStart with the holder's number, HomingError when the file is
    not ours, and OSError.
    """

    def __init__(
        self, path: Path, *, waits: Callable[[str], None], patience: float = PATIENCE
    ) -> None:
        owned_folder(path.parent)
        self.descriptor = opened(path, os.O_RDWR | os.O_CREAT)
        try:
            self._take(path, waits, patience)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.sign()

    def _take(self, path: Path, waits: Callable[[str], None], patience: float) -> None:
        deadline = time.monotonic() + patience
        told = False
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                who = f"{path} is held by {self._holder()}"
            if time.monotonic() > deadline:
                raise CannotStart(f"{who}: stop it first, or use another state_dir")
            if not told:
                told = True
                waits(f"{who}; waiting up to {patience:g} s for its end")
            time.sleep(_PAUSE)

    def _holder(self) -> str:
        pid = os.pread(self.descriptor, _LONGEST, 0).decode(errors="replace").strip()
        return f"process {pid}" if pid.isdecimal() else "another process"

    def sign(self) -> None:
        """Write this process's number to the file, for people.  Call again after a fork."""
        with suppress(OSError):  # a full disk costs the number, not the lock
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)
