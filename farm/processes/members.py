"""The servers that homing farm runs: those of farm.toml, and those that commands have added."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from homing.balancer.management.claims import owes_nothing
from homing.balancer.management.membership import ITSELF
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import Address
from homing.shared.farm_state.values import ServerState, Wish
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Batch, Follow, Registry


def servers_here(config: FarmConfig, view: View) -> dict[str, ServerSection]:
    """The servers to run on this machine, by name, in the order of farm.toml."""
    here = {one.name: one for one in config.managed if not _has_left(view, one.name)}
    for name, known in sorted(view.wishes.items()):
        if name not in here and not _has_left(view, name):
            section = _added(name, known.value)
            if section is not None:
                here[name] = section
    return here


def _has_left(view: View, name: str) -> bool:
    """Whether a server was removed, and nothing of it lives."""
    wish = view.wishes.get(name)
    if wish is None or wish.value.state is ServerState.GONE:
        return wish is not None
    return wish.value.state is ServerState.REMOVED and owes_nothing(view, name)


def _added(name: str, wish: Wish) -> ServerSection | None:
    """A server that a command has added; None where it is not to run here."""
    facts = wish.facts
    if wish.source == ITSELF or not facts.managed:
        return None
    try:
        address = Address.parse(facts.address)
    except ValueError:
        return None
    if address.path is None and not _is_loopback(address.host):
        return None
    return ServerSection(
        name, address, group=facts.group, weight=wish.weight, proxy_protocol=facts.proxy_protocol
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def arguments(section: ServerSection) -> list[str]:
    """The command line of `homing server` for a server that farm.toml does not have."""
    words = ["--address", str(section.address)]
    words += ["--group", section.group] if section.group else []
    return words + (["--proxy-protocol"] if section.proxy_protocol else [])


class Members(Service):
    """Calls `changed` with the servers to run here, whenever the registry says something else."""

    _log = Logger()

    def __init__(
        self,
        registry: Registry,
        config: Callable[[], FarmConfig],
        changed: Callable[[dict[str, ServerSection]], None],
    ) -> None:
        self._registry = registry
        self._config = config
        self._changed = changed
        self._view = View()  # the balancer reports what is wrong
        self._follow: Follow | None = None

    def startService(self) -> None:
        super().startService()
        self._follow = self._registry.follow(self._receive)

    def _receive(self, batch: Batch) -> None:
        self._view.apply(batch)
        if self._view.farm is not None:
            self._changed(servers_here(self._config(), self._view))

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._follow is not None:
            self._follow.stop()
        return Deferred.fromCoroutine(self._registry.close())
