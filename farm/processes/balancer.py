"""homing balancer: one balancer, as a process or as several that it keeps alive."""

from __future__ import annotations

import os
from functools import partial

import attrs
from twisted.application.service import IService
from twisted.internet.defer import Deferred

from homing.balancer.listening import adopted
from homing.balancer.retiring import accept_no_more, last_connections
from homing.balancer.service import Balancer
from homing.farm import assemble, joining
from homing.farm.config.sections import FarmConfig
from homing.farm.config.values import Endpoint, server_name
from homing.farm.processes import process
from homing.farm.processes.descriptors import enough_for, keep_to_ourselves, usable_cores
from homing.farm.processes.inherited import FIRST_SOCKET, InheritedConfig
from homing.farm.processes.lock import Lock
from homing.farm.processes.reload import Reload
from homing.farm.processes.rolling import Rolling
from homing.farm.processes.several import Several
from homing.farm.processes.supervised import Supervised, stop
from homing.farm.registries import open_registry, place_of
from homing.shared.errors import HomingError

DEFAULT_NAME = "balancer-1"


class Options(process.PartOptions):
    """Its command line."""

    optParameters = (
        ("name", "n", None, f"Its name in the registry. [default: {DEFAULT_NAME}]"),
        ("listen", "l", None, "Where it listens, a Twisted endpoint, in place of [balancer]."),
        ("saved-as", None, None, "As a child: the name of its saved table. [default: its name]"),
    )
    optFlags = (("at-once", None, "As a child: it is ready whatever servers are up."),)
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
        workers = 1 if supervised else config.workers(usable_cores())
        if workers > 1:
            _checked(f"{name}.{workers}.b")  # the longest that it leads to
        return (
            _one(options, config, name)
            if workers == 1
            else _several(config, name, workers, options)
        )


def _one(options: Options, config: FarmConfig, name: str) -> IService:
    """A balancer that is this process."""
    sockets = None
    if options["supervised"]:  # our parent keeps one for each endpoint of farm.toml
        sockets = [adopted(FIRST_SOCKET + at) for at in range(len(config.balancer.listen))]
    reactor = process.steady_reactor()
    balancer = assemble.balancer(reactor, config, sockets)
    running = process.Process("balancer", options)
    joined, lock = None, None
    if place := place_of(config):
        if not options["supervised"]:
            reactor.callWhenRunning(claimed(config, name).sign)
        lock = Lock(config.state_dir / f"lock-{name}", waits=process.say)
        reactor.callWhenRunning(lock.sign)
        registry = open_registry(reactor, place)
        saved_as = options["saved-as"] or name
        workers = config.workers(usable_cores()) if options["supervised"] else 1
        joined = joining.following(reactor, registry, config, balancer, name, saved_as, workers)
    running.run(config, balancer, "balancer.", joined)
    child = running.supervise()
    if child is not None:
        managed = [one.name for one in config.managed]
        ready = balancer.accepting if options["at-once"] else balancer.when_up(managed)
        ready.addCallback(partial(_say_ready, child))
        child.retire = partial(_retire, child, balancer, joined, lock)
    return running


def _say_ready(child: Supervised, _: None) -> None:
    child.ready()


def _retire(
    child: Supervised,
    balancer: Balancer,
    joined: joining.Joined | None,
    lock: Lock | None,
    grace: float,
) -> None:
    """Another process has our place: leave it the clients and the name, and end in peace."""
    reactor = process.reactor()

    async def retire() -> None:
        await (joined.leave() if joined and joined.leave else accept_no_more(reactor, balancer))
        if lock is not None:
            os.close(lock.descriptor)
        child.retired()
        await last_connections(reactor, balancer, grace)

    Deferred.fromCoroutine(retire()).addErrback(process.defect).addCallback(lambda _: stop(reactor))


def _several(config: FarmConfig, name: str, workers: int, options: Options) -> IService:
    """A balancer that is so many processes, and this one their parent."""
    reactor = process.steady_reactor()
    keep_to_ourselves()
    enough_for(workers, f"a balancer of {workers} processes")
    lock = claimed(config, name)
    assemble.balancer(reactor, config)  # all that is wrong with the file, said once
    process.warn(config)
    handed = InheritedConfig(config)
    sockets = process.listening(config, workers)
    running = process.Process("balancer", options)
    several = Several(reactor, name, handed, sockets, lock=lock, failed=process.fail_at_end)
    several.setServiceParent(running)
    Reload(reactor, handed.config, several.renew).setServiceParent(running)
    Rolling(reactor, config.state_dir, name, several.workers.roll).setServiceParent(running)
    return running


def claimed(config: FarmConfig, name: str) -> Lock:
    """The lock of a balancer's name: its processes have others, which change at a reload."""
    return Lock(config.state_dir / f"lock-{name}-workers", waits=process.say)


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
