"""A server that comes to a farm by itself: its command line says what farm.toml does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.usage import Options

from homing.farm import assemble, joining
from homing.farm.config.registry_url import registry_url
from homing.farm.config.sections import FarmConfig, FarmSection, ServerSection
from homing.farm.config.values import Address, server_name
from homing.farm.processes import process
from homing.farm.processes.supervised import stop
from homing.shared.errors import HomingError
from homing.shared.farm_state.values import FarmValue
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Registry, RegistryError

_AGAIN = 1.0
"""Seconds between two looks for a farm."""


def configuration(options: Options) -> FarmConfig:
    """What farm.toml says, or the defaults without it, and the command line of this server.

    Raises HomingError.
    """
    config, name, address = _of_file(options), options["name"], options["address"]
    if address is None or name is None:
        return config
    if any(one.name == name for one in config.server):
        raise HomingError(f"--address: {config.path} says where {name} is")
    if not config.has_registry:
        raise HomingError(f"--address: without a registry, {config.path} must have {name}")
    try:
        section = ServerSection(
            server_name(name),
            Address.parse(address),
            group=options["group"],
            proxy_protocol=bool(options["proxy-protocol"]),
        )
    except ValueError as error:
        raise HomingError(f"--name or --address: {error}") from None
    return attrs.evolve(config, server=[*config.server, section])


def _of_file(options: Options) -> FarmConfig:
    """What farm.toml says, or the defaults if there is none.  Raises HomingError."""
    if options["registry"] is None:
        return process.configuration(options)
    if options["config"] is not None:
        config = process.configuration(options)
        section = config.farm
    else:
        config = FarmConfig([], path=Path("farm.toml").absolute())
        section = FarmSection(state_dir=options["state-dir"] or FarmSection().state_dir)
    try:
        section = attrs.evolve(section, registry=registry_url(options["registry"]))
    except ValueError as error:
        raise HomingError(f"--registry {error}") from None
    return attrs.evolve(config, farm=section)


class Arrival(MultiService):
    """A server without farm.toml: what the farm agrees on it learns from the registry, and starts.

    It waits for a farm as long as it takes.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, registry: Registry, config: FarmConfig, name: str, app: str | None
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._registry = registry
        self._config = config
        self._name = name
        self._app = app
        self._why = ""

    def startService(self) -> None:
        super().startService()
        Deferred.fromCoroutine(self._arrive()).addErrback(self._failed)

    async def _arrive(self) -> None:
        while (farm := await self._look()) is None:
            await deferLater(self._reactor, _AGAIN)
            if not self.running:
                return
        section = attrs.evolve(
            self._config.session_ids,
            scheme=farm.scheme,
            lifetime=farm.lifetime,
            resumption=farm.resumption,
        )
        config = attrs.evolve(self._config, session_ids=section)
        server = assemble.server(self._reactor, config, self._name, self._app)
        itself = assemble.managed(config, self._name)
        member = joining.member(self._reactor, self._registry, config, itself, server)
        member.setServiceParent(self)

    async def _look(self) -> FarmValue | None:
        """What the farm agrees on, once it does."""
        view, why = View(), "there is no farm in it yet"
        try:
            view.apply(await self._registry.read())
        except RegistryError as error:
            why = str(error)
        if view.farm is None and why != self._why:
            self._why = why
            self._log.warn("waits for the registry: {why}", why=why)
        return view.farm

    def _failed(self, failure: Any) -> None:
        if failure.check(HomingError, OSError):
            self._log.critical("{error}", error=failure.getErrorMessage())
        else:
            self._log.failure("a defect in the start", failure)
        process.fail_at_end(2)
        stop(self._reactor)
