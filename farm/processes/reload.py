"""SIGHUP: farm.toml and certificates are read again; what is wrong with them changes nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorCore, IReactorFromThreads
from twisted.internet.interfaces import IReactorTime as Clock
from twisted.logger import Logger

from homing.farm.config.changes import Change, changes
from homing.farm.config.farm_toml import load
from homing.farm.config.sections import FarmConfig
from homing.farm.processes.inherited import with_lists
from homing.shared.errors import HomingError

PAUSE = 1.0
"""Seconds at least between two reloads, however many signals come."""

_HANGUP = {signal.SIGHUP}


class ReloadReactor(IReactorCore, IReactorFromThreads, Clock):
    """What reading again needs of the reactor."""


Apply = Callable[[FarmConfig, list[Change]], FarmConfig]
"""Given a new configuration and its changes, applies those it can; returns what is in force then.

Raises HomingError when nothing can be applied.
"""


def hold_hangups() -> None:
    """Block SIGHUP, in this process and those it starts, until `Reload` handles it.

    `homing.__main__` has done so earlier, but twistd has not.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)


@contextmanager
def signals_held() -> Iterator[None]:
    """Block SIGHUP and SIGINT for processes that are started inside the block.

    `Supervised` unblocks SIGINT once the process ignores it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP | {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Reload(Service):
    """Reads the farm.toml of `config` again whenever SIGHUP comes.

    `config` is what is in force, with the content of list files (`inherited.with_lists`).
    """

    _log = Logger()

    def __init__(self, reactor: ReloadReactor, config: FarmConfig, apply: Apply) -> None:
        self._reactor = reactor
        self._config = config
        self._apply = apply
        self._asked = False
        self._due: IDelayedCall | None = None
        self._not_before = 0.0

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANGUP)
        # Python puts its own handlers off before the process ends, but leaves this
        self._reactor.addSystemEventTrigger(
            "after", "shutdown", signal.signal, signal.SIGHUP, signal.SIG_IGN
        )

    def _hang_up(self, *_: Any) -> None:
        if not self._asked:
            self._asked = True
            self._reactor.callFromThread(self._soon)

    def _soon(self) -> None:
        pause = max(0.0, self._not_before - self._reactor.seconds())
        self._due = self._reactor.callLater(pause, self._read)

    def _read(self) -> None:
        self._asked, self._due = False, None  # a signal from now on is about a newer file
        if not self.running:
            return
        try:
            new = with_lists(load(self._config.path))
            self._config = self._apply(new, changes(self._config, new))
        except HomingError as error:
            for line in str(error).splitlines():
                self._log.error("SIGHUP: {line}", line=line)
            self._log.error("SIGHUP: everything stays as it was")
        except Exception:
            self._log.failure("SIGHUP: everything stays as it was")
        self._not_before = self._reactor.seconds() + PAUSE

    def stopService(self) -> None:
        super().stopService()
        if self._due is not None:
            self._due.cancel()
            self._due = None


def tell(log: Logger, found: Iterable[Change], section: str, alone: bool) -> None:
    """Log the changes to a process's own `section` and, if it runs alone, those that must wait."""
    for change in found:
        if change.live and change.key.startswith(section):
            log.info("{change}: in force", change=str(change))
        elif alone and not change.live:
            tell_restart(log, change)


def tell_restart(log: Logger, change: Change) -> None:
    """Log what must be restarted before a change is in force."""
    log.warn("{change}: needs a restart of {needs}", change=str(change), needs=change.needs.value)
