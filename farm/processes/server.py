"""homing server: one server of a farm as a process."""

from __future__ import annotations

from twisted.application.service import IService

from homing.farm import assemble, joining
from homing.farm.config.sections import FarmSection
from homing.farm.processes import process
from homing.farm.processes.arrival import Arrival, configuration
from homing.farm.processes.lock import Lock
from homing.farm.registries import open_registry, place_of
from homing.shared.errors import HomingError

_STATE = FarmSection().state_dir

PATIENCE = 10.0
"""Seconds after which a server counts as ready though the registry has assigned it nothing."""


class Options(process.PartOptions):
    """Its command line."""

    optParameters = (
        ("name", "s", None, "Which [[server]] of it to run."),
        (
            "app",
            "a",
            None,
            "What to serve: module:factory, a Twisted protocol factory or something callable that "
            "returns one; tcp:HOST:PORT, a plain upstream; or tcp+proxy:HOST:PORT, one told "
            "the client's address, by PROXY protocol v2. [default: the demo application]",
        ),
        ("registry", "r", None, "The farm's registry; then no farm.toml is needed."),
        ("address", None, None, "Where it listens, as farm.toml has it, if it is not there."),
        ("group", None, None, "The group that it shares sessions with."),
        ("state-dir", "d", None, f"Folder of its state, without farm.toml. [default: {_STATE}]"),
    )
    optFlags = (
        *process.PartOptions.optFlags,
        ("proxy-protocol", None, "Expect the client's address, by PROXY protocol v2."),
    )
    longdesc = (
        "One server.  Examples:  homing server --config farm.toml --name s1   "
        "homing server --registry sqlite:/srv/homing/registry.sqlite --name s5 "
        "--address tcp:10.0.0.9:8443"
    )


def makeService(options: Options) -> IService:
    """The server that `options` ask for."""
    with process.starting("a server", bool(options["supervised"])):
        reactor = process.reactor()
        config, name = configuration(options), options["name"]
        if name is None:
            servers = ", ".join(one.name for one in config.server)
            raise HomingError(f"--name is missing; servers: {servers}")
        running = process.Process(name, options)
        assemble.managed(config, name)
        lock = Lock(config.state_dir / f"lock-{name}", waits=process.say)
        place = place_of(config)
        if place is not None and options["config"] is None and not options["supervised"]:
            registry = open_registry(reactor, place)
            arrival = Arrival(reactor, registry, config, name, options["app"])
            arrival.setServiceParent(running)
            return running
        server = assemble.server(reactor, config, name, options["app"])
        joined = None
        if place is not None:
            member = joining.member(
                reactor,
                open_registry(reactor, place),
                config,
                assemble.managed(config, name),
                server,
            )
            joined = joining.Joined(member, member.agent.look_again)
        running.run(config, server, "tls.", joined)
    reactor.callWhenRunning(lock.sign)  # with the number of the daemon, if it is one now
    if child := running.supervise():
        if joined is None:
            reactor.callWhenRunning(child.ready)
        else:
            ready = member.agent.when_ready().addTimeout(PATIENCE, reactor)
            ready.addBoth(lambda _: child.ready())  # in time or not: it serves all the same
    return running
