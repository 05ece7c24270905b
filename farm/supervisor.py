"""A whole farm on one machine: every managed server and the balancer, each a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall, IReactorCore
from twisted.logger import Logger

from certs.demo import DemoCertificates
from farm import child
from farm.child import Child
from farm.config import FarmConfig
from farm.next_steps import address, next_steps, shown
from server.files import replace
from server.ownership import owned_folder

START_TIMEOUT = 30.0
"""Seconds within which everything must have become ready,"""
START_TIMEOUT_PER_SERVER = 0.5
"""and as many more for each server."""

PATIENCE = 4.5
"""Seconds that processes get to end by themselves."""

_BALANCER = "balancer"


class Reactor(child.Reactor, IReactorCore):
    """What a farm needs of the reactor."""


class Farm(Service):
    """Farm 100.  Writes ``farm.json`` when all accepts connections, and removes it at the end."""

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        config: FarmConfig,
        app: str | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        path = str(config.path)
        self._servers = {
            one.name: Child(
                reactor,
                one.name,
                ["homing-server", "--config", path, "--name", one.name]
                + (["--app", app] if app else []),
                self._changed,
            )
            for one in config.server
            if one.managed
        }
        self._balancer = Child(
            reactor, _BALANCER, ["homing-balancer", "--config", path], self._changed
        )
        self._runs_demo = app is None and not any(one.app for one in config.server)
        self._announced = False
        self._late: IDelayedCall | None = None
        self._failed = failed
        self._giving_up = False

    def startService(self) -> None:
        super().startService()
        owned_folder(self._config.state_dir)
        self._json.unlink(missing_ok=True)  # of a farm that was killed
        self._late = self._reactor.callLater(self._start_timeout, self._too_late)
        for one in self._children():
            one.start()

    def _children(self) -> list[Child]:
        return [*self._servers.values(), self._balancer]

    def _changed(self, one: Child) -> None:
        if all(each.facts is not None for each in self._children()):
            self._announce()
        elif one.facts is None and not one.was_ready:
            self._fail(f"{one.name} could not start: {one.exit}; its messages stand above")

    @property
    def _start_timeout(self) -> float:
        return START_TIMEOUT + START_TIMEOUT_PER_SERVER * len(self._servers)

    def _too_late(self) -> None:
        self._late = None
        missing = [each.name for each in self._children() if each.facts is None]
        self._fail(f"not ready within {self._start_timeout:g} s: {', '.join(missing)}")

    def _fail(self, why: str) -> None:
        if self.running and not self._announced and not self._giving_up:
            self._giving_up = True
            self._log.critical("{why}", why=why)
            self._failed()
            with suppress(ReactorNotRunning):  # somebody stops it already
                self._reactor.stop()

    def _announce(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        facts = self.facts()
        self._write(facts)
        if not self._announced:
            self._announced = True
            self._log.info(
                "homing-farm ready: https://{address}/ with {servers} servers, {data}{steps}",
                address=address(facts["listen"]),
                listen=facts["listen"],
                servers=len(facts["servers"]),
                data=shown(self._json),
                steps="".join(f"\n  try: {step}" for step in self._next_steps(facts["listen"])),
            )

    def _next_steps(self, listen: str) -> Iterator[str]:
        ca = DemoCertificates(self._config.state_dir).ca
        own_certificate = self._config.tls.certificate is not None
        return next_steps(listen, None if own_certificate else ca, self._runs_demo)

    def facts(self) -> dict[str, Any]:
        """What stands in ``farm.json``."""
        balancer = self._balancer.facts or {}
        return {
            "listen": balancer["listen"][0],
            "ca": DemoCertificates(self._config.state_dir).ca.name,
            "scheme": self._config.session_ids.scheme,
            "servers": [
                {
                    "name": one.name,
                    "pid": self._servers[one.name].pid,
                    "address": str(one.address),
                }
                for one in self._config.server
                if one.managed
            ],
            "balancer_pid": self._balancer.pid,
        }

    @property
    def _json(self) -> Path:
        return self._config.state_dir / "farm.json"

    def _write(self, facts: dict[str, Any]) -> None:
        """In one step: whoever reads it sees all of it."""
        replace(self._json, f"{json.dumps(facts, indent=1)}\n".encode())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._log.info("stops; open connections get a few seconds to end")
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._late is not None:
            self._late.cancel()
        await gatherResults([each.stop(PATIENCE) for each in self._children()])
        self._json.unlink(missing_ok=True)
        for one in self._config.server:  # of servers that were killed
            if one.managed and one.address.path is not None:
                self._config.socket_path(one.address).unlink(missing_ok=True)
