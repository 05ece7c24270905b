"""A balancer of several processes, which its parent keeps alive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from homing.farm.config.changes import Change
from homing.farm.config.sections import FarmConfig
from homing.farm.processes.child import Child
from homing.farm.processes.inherited import CONFIG_DESCRIPTOR, LOCK_DESCRIPTOR, InheritedConfig
from homing.farm.processes.lock import Lock
from homing.farm.processes.supervised import stop
from homing.farm.processes.supervisor import (
    PATIENCE,
    START_TIMEOUT,
    FarmReactor,
    hand_on,
    status_of,
)
from homing.farm.processes.workers import Workers


class Several(Service):
    """The processes of the balancer `name`, one for every list of listening `sockets`.

    `lock` is that of the name.  `failed` is called with an exit status when one cannot start,
    before the reactor stops.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: FarmReactor,
        name: str,
        handed: InheritedConfig,
        sockets: Sequence[Sequence[socket]],
        *,
        lock: Lock,
        failed: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._handed = handed
        self._lock = lock
        self._failed = failed
        self._deadline: IDelayedCall | None = None
        self._has_started = False
        self.workers = Workers(
            reactor,
            name,
            sockets,
            config=lambda: handed.config,
            inherits=lambda: {
                CONFIG_DESCRIPTOR: handed.descriptor,
                LOCK_DESCRIPTOR: lock.descriptor,
            },
            changed=self._changed,
        )

    def startService(self) -> None:
        super().startService()
        self._lock.sign()
        self._reactor.callWhenRunning(self._start)  # no sooner does it handle signals to stop

    def _start(self) -> None:
        self._deadline = self._reactor.callLater(START_TIMEOUT, self._too_late)
        self.workers.start()

    def renew(self, config: FarmConfig, found: list[Change]) -> FarmConfig:
        """Hand on what of `config` needs no restart, and tell all processes to reload."""
        hand_on(self._log, self._handed, config, found)
        self.workers.hang_up()
        return self._handed.config

    def _changed(self, one: Child) -> None:
        if not one.is_ready and not one.was_ready:
            self._fail(
                f"{one.name} could not start: {one.exit}; its messages stand above", status_of(one)
            )
        elif not self._has_started and all(each.is_ready for each in self.workers.children):
            self._has_started = True
            self._no_deadline()

    def _too_late(self) -> None:
        self._deadline = None
        missing = [each.name for each in self.workers.children if not each.is_ready]
        self._fail(f"not ready within {START_TIMEOUT:g} s: {', '.join(missing)}", 1)

    def _fail(self, why: str, status: int) -> None:
        if self.running and not self._has_started:
            self._has_started = True  # or it would fail again
            self._log.error("{why}", why=why)
            self._failed(status)
            stop(self._reactor)

    def _no_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def stopService(self) -> Deferred[list[None]]:
        super().stopService()
        self._no_deadline()
        self._log.info("stops; open connections get a few seconds to end")
        self.workers.close()
        return gatherResults(self.workers.stop(PATIENCE))
