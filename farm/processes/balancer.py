"""homing balancer: one balancer as a process."""

from __future__ import annotations

import attrs
from twisted.application.service import IService

from homing.balancer.listening import adopted
from homing.farm import assemble, joining
from homing.farm.config.sections import FarmConfig
from homing.farm.config.values import Endpoint, server_name
from homing.farm.processes import process
from homing.farm.processes.inherited import FIRST_SOCKET
from homing.farm.processes.lock import Lock
from homing.farm.registries import open_registry, place_of
from homing.shared.errors import HomingError

DEFAULT_NAME = "balancer-1"


class Options(process.PartOptions):
    """Its command line."""

    optParameters = (
        ("name", "n", None, f"Its name in the registry. [default: {DEFAULT_NAME}]"),
        ("listen", "l", None, "Where it listens, a Twisted endpoint, in place of [balancer]."),
    )
    longdesc = (
        "One balancer.  Examples:  homing balancer --config farm.toml   "
        "homing balancer --config farm.toml --name balancer-2 --listen tcp:8444"
    )


def makeService(options: Options) -> IService:
    """The balancer that `options` ask for."""
    supervised = bool(options["supervised"])
    with process.starting("a balancer", supervised):
        config = _listening(process.configuration(options), options["listen"])
        name = _checked(options["name"] or DEFAULT_NAME)
        sockets = None
        if supervised:  # homing farm keeps one for each endpoint of farm.toml
            sockets = [adopted(FIRST_SOCKET + at) for at in range(len(config.balancer.listen))]
        reactor = process.steady_reactor()
        balancer = assemble.balancer(reactor, config, sockets)
        running = process.Process("balancer", options)
        joined = None
        if place := place_of(config):
            lock = Lock(config.state_dir / f"lock-{name}", waits=process.say)
            reactor.callWhenRunning(lock.sign)
            registry = open_registry(reactor, place)
            joined = joining.following(reactor, registry, config, balancer, name)
        running.run(config, balancer, "balancer.", joined)
    if child := running.supervise():
        managed = [one.name for one in config.managed]
        balancer.when_up(managed).addCallback(lambda _: child.ready())
    return running


def _listening(config: FarmConfig, listen: str | None) -> FarmConfig:
    """`config`, where the balancer listens as its command line says.  Raises HomingError."""
    if listen is None:
        return config
    try:
        endpoint = Endpoint.parse(listen)
    except ValueError as error:
        raise HomingError(f"--listen {error}") from None
    return attrs.evolve(config, balancer=attrs.evolve(config.balancer, listen=[endpoint]))


def _checked(name: str) -> str:
    try:
        return server_name(name)
    except ValueError as error:
        raise HomingError(f"--name {error}") from None
