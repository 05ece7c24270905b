"""A whole farm on one machine: every managed server and the balancer, each a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from socket import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorCore
from twisted.logger import Logger

from homing.certs.demo import DemoCertificates
from homing.farm.assemble import tls_options
from homing.farm.config.changes import Change, Needs, in_force
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.plan import plan
from homing.farm.processes.announcement import Announcement, address, next_steps, shown
from homing.farm.processes.child import Child, ChildReactor
from homing.farm.processes.inherited import (
    CONFIG_DESCRIPTOR,
    LOCK_DESCRIPTOR,
    InheritedConfig,
)
from homing.farm.processes.lock import Lock
from homing.farm.processes.members import arguments
from homing.farm.processes.reload import tell_restart
from homing.farm.processes.supervised import stop
from homing.farm.processes.workers import Workers
from homing.server.files import remove_socket
from homing.server.tls.context import usable
from homing.shared.addresses import host_and_port

START_TIMEOUT = 30.0
"""Seconds in which all processes must become ready, for a farm without servers."""
START_TIMEOUT_PER_SERVER = 0.5
"""Seconds more for each server."""

PATIENCE = 4.5
"""Seconds that processes get to end before they are killed."""

_BAD_INPUT = "exit status 2"

_AT_NEXT_START = frozenset({Needs.NOTHING, Needs.REGISTRY, Needs.BALANCER, Needs.SERVERS})
"""Changes that a process takes when it starts again, although the others run with the old ones."""


def status_of(child: Child) -> int:
    """The exit status of a parent whose child could not start."""
    return 2 if child.exit == _BAD_INPUT else 1


def hand_on(log: Logger, handed: InheritedConfig, config: FarmConfig, found: list[Change]) -> None:
    """Pass what of a `config` that was read again needs no restart to children that start."""
    log.info(
        "SIGHUP: {path} read again, changed keys: {count}", path=str(config.path), count=len(found)
    )
    for change in found:
        if not change.live:
            tell_restart(log, change)
    handed.replace(in_force(handed.config, config, _AT_NEXT_START))


class FarmReactor(ChildReactor, IReactorCore):
    """What a farm needs of the reactor."""


class Farm(Service):
    """Farm 100.  Writes ``farm.json`` once all processes are ready, and removes it at the end.

    The balancer, under `name`, has a process for every list of listening `sockets`, which inherits
    them each time it starts.  `lock` is that of the state folder.  `failed` is called with an exit
    status when the farm cannot start, before the reactor stops.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: FarmReactor,
        handed: InheritedConfig,
        sockets: Sequence[Sequence[socket]],
        *,
        name: str,
        lock: Lock,
        app: str | None = None,
        failed: Callable[[int], None],
    ) -> None:
        self._reactor = reactor
        self._handed = handed
        self._lock = lock
        self._failed = failed
        self._app = ["--app", app] if app else []
        self._sections = {one.name: one for one in self.config.managed}
        """The servers that run here: those of farm.toml, and others that commands have added."""
        self._servers = {name: self._server(one) for name, one in self._sections.items()}
        self._leaving: set[Child] = set()
        self.workers = Workers(
            reactor,
            name,
            sockets,
            config=lambda: self.config,
            inherits=self._inherited,
            changed=self._changed,
            waits_for_servers=True,
        )
        self._runs_demo = app is None and not any(one.app for one in self.config.managed)
        self._listen = [host_and_port(*one.getsockname()[:2]) for one in sockets[0]]
        self._certificates = DemoCertificates(self.config.state_dir)
        self._announcement = Announcement(reactor, self.config.state_dir / "farm.json")
        self._announced = False
        self._deadline: IDelayedCall | None = None
        self._start_timeout = START_TIMEOUT + START_TIMEOUT_PER_SERVER * len(self._servers)
        self._giving_up = False

    @property
    def config(self) -> FarmConfig:
        """The farm.toml in force."""
        return self._handed.config

    @property
    def _children(self) -> list[Child]:
        return [*self._servers.values(), *self.workers.children]

    def _server(self, one: ServerSection) -> Child:
        is_added = one not in self.config.server
        added = arguments(one) if is_added else []
        options = ["--config", str(self.config.path), "--name", one.name, *added, *self._app]
        return Child(
            self._reactor,
            one.name,
            ["server", *options],
            changed=self._changed,
            inherits=self._inherited,
        )

    def _inherited(self) -> dict[int, int]:
        """The descriptors that every child gets."""
        return {
            CONFIG_DESCRIPTOR: self._handed.descriptor,
            LOCK_DESCRIPTOR: self._lock.descriptor,
        }

    def startService(self) -> None:
        super().startService()
        self._lock.sign()
        self._announcement.remove()  # that of a farm that was killed
        self._reactor.callWhenRunning(self._start)  # no sooner does it handle signals to stop

    def _start(self) -> None:
        self._deadline = self._reactor.callLater(self._start_timeout, self._too_late)
        for one in self._children:
            one.start()

    def renew(self, config: FarmConfig, found: list[Change]) -> FarmConfig:
        """Hand on what of `config` needs no restart of the farm, and tell all processes to reload.

        Raises HomingError when a farm could not start with `config`.
        """
        if any(change.needs is Needs.FARM for change in found):
            plan(config)
        usable(tls_options(config))  # its certificates
        hand_on(self._log, self._handed, config, found)
        for each in self._children:
            each.hang_up()
        return self.config

    def run_servers(self, wanted: Mapping[str, ServerSection]) -> None:
        """Run these servers of ours from now on, and stop the others."""
        if not self.running or self._giving_up or wanted.keys() == self._servers.keys():
            return
        for name in self._servers.keys() - wanted.keys():
            self._log.info("{name} was removed: its process ends", name=name)
            self._stop_server(self._servers.pop(name))
        for name in wanted.keys() - self._servers.keys():
            self._log.info("{name} was added: its process starts", name=name)
            self._servers[name] = self._server(wanted[name])
            self._servers[name].start()
        self._sections |= wanted
        if self._announced:
            self._announcement.outdated()
        self._ready_or_not()

    def _stop_server(self, child: Child) -> None:
        self._leaving.add(child)
        child.stop(PATIENCE).addCallback(lambda _: self._leaving.discard(child))

    def _changed(self, one: Child) -> None:
        if not one.is_ready:
            self._announcement.outdated()
        if not one.is_ready and not one.was_ready:
            words = f"{one.name} could not start: {one.exit}; its messages stand above"
            self._fail(words, status_of(one))
        self._ready_or_not()

    def _ready_or_not(self) -> None:
        if all(each.is_ready for each in self._children):
            self._announce()

    def _too_late(self) -> None:
        self._deadline = None
        missing = [each.name for each in self._children if not each.is_ready]
        self._fail(f"not ready within {self._start_timeout:g} s: {', '.join(missing)}")

    def _fail(self, why: str, status: int = 1) -> None:
        if not self.running or self._giving_up:
            return
        self._log.error("{why}", why=why)
        if not self._announced:
            self._giving_up = True
            self._failed(status)
            stop(self._reactor)

    def _no_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _announce(self) -> None:
        self._no_deadline()
        facts = self.facts()
        self._announcement.write(facts)
        if not self._announced:
            self._announced = True
            demo_ca = None if self.config.tls.certificate else self._certificates.ca
            steps = next_steps(facts["listen"], demo_ca, self._runs_demo)
            count = len(facts["servers"])
            self._log.info(
                "homing-farm ready: https://{address}/ with {servers} {noun}, {data}{steps}",
                address=address(facts["listen"]),
                listen=facts["listen"],
                servers=count,
                noun="server" if count == 1 else "servers",
                data=shown(self._announcement.path),
                steps="".join(f"\n  try: {step}" for step in steps),
            )

    def facts(self) -> dict[str, Any]:
        """The content of ``farm.json``."""
        return {
            "pid": os.getpid(),
            "listen": self._listen[0],
            "ca": self._certificates.ca.name,
            "scheme": self.config.session_ids.scheme,
            "servers": [
                {"name": name, "pid": one.pid, "address": str(self._sections[name].address)}
                for name, one in self._servers.items()
            ],
            "balancer_pid": self.workers.pids[0],
            "balancer_pids": self.workers.pids,
        }

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._log.info("stops; open connections get a few seconds to end")
        self.workers.close()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        self._no_deadline()
        ending = [each.stop(PATIENCE) for each in self._servers.values()]
        ending += self.workers.stop(PATIENCE)
        await gatherResults([*ending, *(each.stopped for each in self._leaving)])
        self._announcement.remove()
        for one in self._sections.values():  # whose sockets are left if they were killed
            if one.address.path is not None:
                remove_socket(self.config.socket_path(one.address))
