"""homing balancer: one balancer as a process."""

from __future__ import annotations

from twisted.application.service import IService

from homing.balancer.listening import adopted
from homing.farm import assemble
from homing.farm.processes import process
from homing.farm.processes.inherited import FIRST_SOCKET


class Options(process.PartOptions):
    """Its command line."""

    longdesc = "One balancer.  Example:  homing balancer --config farm.toml"


def makeService(options: Options) -> IService:
    """The balancer that `options` ask for."""
    supervised = bool(options["supervised"])
    with process.starting("a balancer", supervised):
        config = process.configuration(options)
        sockets = None
        if supervised:  # homing farm keeps one for each endpoint of farm.toml
            sockets = [adopted(FIRST_SOCKET + at) for at in range(len(config.balancer.listen))]
        balancer = assemble.balancer(process.steady_reactor(), config, sockets)
        running = process.Process("balancer", options)
        running.run(config, balancer, "balancer.")
    if child := running.supervise():
        managed = [one.name for one in config.managed]
        balancer.when_up(managed).addCallback(lambda _: child.ready())
    return running
