"""Key rotation without a restart: the farm's keys are read again when their file changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.logger import Logger

from homing.shared.errors import HomingError

EVERY = 1.0
"""Seconds between two looks."""

_log = Logger()


class KeyWatch(TimerService):
    """Calls `changed` whenever the file at `path` has changed.

    When the new file cannot be used, that is logged, and the old key stays in force.
    """

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        super().__init__(EVERY, self._look)
        self._path = path
        self._apply = changed
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_ctime_ns, status.st_ino  # chmod may be what it takes

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        if stamp is None:
            words = "{path} is gone: put it back before anything restarts, or all sessions are lost"
            _log.error(words, path=str(self._path))
            return
        try:
            self._apply()
        except HomingError as error:
            _log.error("{path} is not used: {error}", path=str(self._path), error=error)
        else:
            _log.info("{path} has changed and is in force", path=str(self._path))
