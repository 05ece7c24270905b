"""homing balancer: one balancer as a process."""

from __future__ import annotations

from socket import socket

from twisted.application.service import IService

from homing.balancer.listening import adopted
from homing.farm import assemble
from homing.farm.config.farm_toml import FarmConfig
from homing.farm.processes.inherited import FIRST_SOCKET
from homing.farm.processes.process import (
    PartOptions,
    Process,
    configuration,
    starting,
    steady_reactor,
    warn,
)


class Options(PartOptions):
    """Its command line."""

    longdesc = "One balancer.  Example:  homing balancer --config farm.toml"


def makeService(options: Options) -> IService:
    """The balancer that `options` ask for."""
    supervised = bool(options["supervised"])
    with starting("a balancer", supervised):
        config = configuration(options)
        sockets = _inherited_sockets(config) if supervised else None
        balancer = assemble.balancer(steady_reactor(), config, sockets)
        process = Process("balancer", options)
        process.run(config, balancer, "balancer.")
    if child := process.supervised():
        managed = [one.name for one in config.server if one.managed]
        balancer.when_up(managed).addCallback(lambda _: child.ready())
    else:
        warn(config)
    return process


def _inherited_sockets(config: FarmConfig) -> list[socket]:
    """The listening sockets that homing-farm keeps, one for each endpoint of farm.toml."""
    return [adopted(FIRST_SOCKET + index) for index in range(len(config.balancer.listen))]
