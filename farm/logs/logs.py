"""Where the log of a process goes: to people, to its parent, and into a file for machines."""

from __future__ import annotations

import atexit
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher, globalLogPublisher
from twisted.python.components import Componentized
from zope.interface import implementer

from homing.farm.logs.lines import Line, for_machines, for_parent, for_people, line_of
from homing.farm.logs.writer import LogWriter
from homing.shared.errors import HomingError

LAST_WORDS = 0.3
"""Seconds that a process waits at its end for its last lines to be written."""


@implementer(ILogObserver)
class Observer:
    """Writes every event as a line of one format."""

    def __init__(
        self,
        process: str,
        descriptor: int,
        form: Callable[[Line], str],
        *,
        failed: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._process = process
        self._form = form
        self.writer = LogWriter(descriptor, self._dropped, failed)

    def __call__(self, event: LogEvent) -> None:
        line = line_of(event, self._process)
        if line is not None:
            self.writer.write(self._form(line))

    def say(self, level: str, text: str) -> None:
        """Write a line that is not an event of the log."""
        self.writer.write(self._form(Line(time.time(), level, text, self._process, {})))

    def _dropped(self, count: int) -> str:
        text = f"{count} lines of the log are missing here: they could not be written"
        missing = {"missing": count}
        return self._form(Line(time.time(), "warn", text, self._process, missing))


class Logs:
    """The log of the process called `process`.

    `twistd` holds twistd's own options.  Its ``--logfile``, ``--syslog`` and ``--logger``, and the
    log of a daemon, work as always; our format replaces only the log to standard output.  `path`
    is the JSON file, if any.  Raises HomingError when it cannot be written.
    """

    _log = Logger()

    def __init__(
        self,
        process: str,
        twistd: Mapping[str, Any] | None,
        path: str | None = None,
        *,
        supervised: bool = False,
    ) -> None:
        self._path = path
        self._people: Observer | None = None
        self._machines: Observer | None = None
        if _to_stdout(twistd or {}):
            descriptor = _stdout()
            colours = os.isatty(descriptor) and "NO_COLOR" not in os.environ
            form = for_parent if supervised else lambda line: for_people(line, colours)
            self._people = Observer(process, descriptor, form)
        if path is not None:
            self._machines = Observer(process, _open(path), for_machines, failed=self._failed)
        self._observers = [one for one in (self._people, self._machines) if one is not None]

    def _failed(self, error: OSError) -> None:
        self._log.error(
            "{path} cannot be written: {error}; lines are missing there until it can",
            path=self._path,
            error=error.strerror,
        )

    def install(self, application: object) -> None:
        """Make twistd, which runs `application`, log here."""
        if self._people is not None and isinstance(application, Componentized):
            application.setComponent(ILogObserver, LogPublisher(*self._observers))

    def start(self, reactor: IReactorCore) -> None:
        """Begin to write.  Call it after the last fork: the writers are threads."""
        if self._machines is not None and self._people is None:
            globalLogPublisher.addObserver(self._machines)
        for observer in self._observers:
            observer.writer.start()
        reactor.addSystemEventTrigger("after", "shutdown", self.flush)
        atexit.register(self.flush)

    def cannot_start(self, why: str) -> None:
        """Write `why` to the JSON file, if there is one; people read it on standard error."""
        if self._machines is not None:
            self._machines.say("critical", why)

    def flush(self) -> None:
        """Wait up to `LAST_WORDS` for lines that are not written yet."""
        until = time.monotonic() + LAST_WORDS
        for observer in self._observers:
            observer.writer.flush(max(until - time.monotonic(), 0.0))


def _to_stdout(twistd: Mapping[str, Any]) -> bool:
    """Whether twistd would log to standard output."""
    if twistd.get("logger") or twistd.get("syslog"):
        return False
    if twistd.get("logfile"):
        return bool(twistd["logfile"] == "-")
    return bool(twistd.get("nodaemon") or twistd.get("debug"))


def _stdout() -> int:
    """Standard output; when it is closed, another file may have its number, so /dev/null."""
    return sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)


def _open(path: str) -> int:
    """Open a log file to add to; it is made for its owner alone, and without following links."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise HomingError(f"--log-json {path}: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise HomingError(f"--log-json {path}: is not a file of ours; name another")
    return descriptor
