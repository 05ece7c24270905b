"""The services of the twistd plugins."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from socket import socket
from typing import Any, NoReturn, cast

from twisted.application.service import IService, IServiceCollection, MultiService
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger, LoggingFile
from twisted.python.usage import Options

from homing.balancer.listening import adopted, open_all
from homing.balancer.service import Balancer
from homing.farm import assemble
from homing.farm.config.changes import Change, in_force
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import CannotStart, InvalidConfig
from homing.farm.config.guard import demo, remarks
from homing.farm.config.sections import FarmConfig
from homing.farm.logs.lines import Line, for_parent
from homing.farm.logs.logs import Logs
from homing.farm.processes.descriptors import allow_many, enough_for, keep_to_ourselves
from homing.farm.processes.handed_down import HandedDown, handed_down, with_lists
from homing.farm.processes.lock import Lock
from homing.farm.processes.options import BalancerOptions, FarmOptions, ServerOptions
from homing.farm.processes.reload import Reload, tell
from homing.farm.processes.start import locked_farm, say
from homing.farm.processes.supervised import CONFIG_DESCRIPTOR, FIRST_SOCKET, Supervised
from homing.farm.processes.supervisor import Farm
from homing.server.service import TLSServer
from homing.shared.errors import HomingError

_log = Logger()


class _Top(MultiService):
    """Has twistd log as we do; ends the process with a message alone where it cannot start."""

    _log = Logger()

    def __init__(self, process: str, options: Options) -> None:
        super().__init__()
        twistd = options.parent
        self._daemon = twistd is not None and not twistd["nodaemon"]
        supervised = bool(options.get("supervised"))
        try:
            self._logs = Logs(process, options.parent, options["log-json"], supervised)
        except HomingError as error:
            _exit(2, str(error), supervised)
        self._supervised = supervised

    def setServiceParent(self, parent: IServiceCollection) -> None:
        self._logs.install(parent)
        super().setServiceParent(parent)

    def flush(self) -> None:
        """Wait a moment for the log to be written."""
        self._logs.flush()

    def startService(self) -> None:
        self._logs.start(_reactor())
        try:
            super().startService()
        except HomingError as error:
            if not self._daemon:
                self._logs.cannot_start(str(error))
                _exit(1, str(error), self._supervised)
            self._log.critical("{error}", error=error)
            # The process that the user called waits for the daemon's word, for ever if it ends by
            # SystemExit.  twistd passes on the first 98 bytes, this name among them
            raise RuntimeError(str(error)) from None


def make_balancer(options: BalancerOptions) -> IService:
    """The service of twistd homing-balancer."""
    allow_many()
    _enough("a balancer")
    supervised = bool(options["supervised"])
    config = _load(options["config"], supervised)
    reactor = _steady_reactor()
    try:
        sockets = _inherited_sockets(config) if supervised else None
        balancer = assemble.balancer(reactor, config, sockets)
    except CannotStart as error:
        _exit(1, str(error), supervised)
    except HomingError as error:
        _exit(2, str(error), supervised)
    except OSError as error:
        _exit(1, str(error), supervised)
    top = _Top("balancer", options)
    balancer.setServiceParent(top)
    _keep_up(top, config, balancer, "balancer.", supervised)
    if supervised:
        child = Supervised(reactor, top.flush)
        child.setServiceParent(top)
        managed = [one.name for one in config.server if one.managed]
        balancer.when_up(managed).addCallback(lambda _: child.ready())
    else:
        _warn(config)
    return top


def make_server(options: ServerOptions) -> IService:
    """The service of twistd homing-server."""
    allow_many()
    _enough("a server")
    supervised = bool(options["supervised"])
    config, name = _load(options["config"], supervised), options["name"]
    if name is None:
        _exit(2, f"--name is missing; servers: {', '.join(one.name for one in config.server)}")
    top = _Top(options["name"], options)
    try:
        assemble.managed(config, name)
        lock = Lock(config.state_dir / f"lock-{name}", say)
        server = assemble.server(_reactor(), config, name, options["app"])
        server.setServiceParent(top)
        _keep_up(top, config, server, "tls.", supervised)
    except CannotStart as error:
        _exit(1, str(error), supervised)
    except HomingError as error:
        _exit(2, str(error), supervised)
    except OSError as error:
        _exit(1, str(error), supervised)
    _reactor().callWhenRunning(lock.sign)  # with the number of the daemon, if it is one now
    if supervised:
        child = Supervised(_reactor(), top.flush)
        child.setServiceParent(top)
        _reactor().callWhenRunning(child.ready)
    else:
        _warn(config)
    return top


def make_farm(options: FarmOptions) -> IService:
    """The service of twistd homing-farm."""
    allow_many()
    keep_to_ourselves()
    try:
        lock, config = locked_farm(options)
        children = 1 + sum(one.managed for one in config.server)
        enough_for(children, f"a farm of {children} processes")
        if config.tls.certificate is None:
            demo(config)  # now, or every server would make its own
        assemble.balancer(_reactor(), config)  # all that is wrong with the file, said once
        handed = HandedDown(config)
    except CannotStart as error:
        _exit(1, str(error))
    except HomingError as error:
        _exit(2, str(error))
    except OSError as error:
        _exit(1, str(error))
    try:
        sockets = open_all([one.description for one in config.balancer.listen])
    except HomingError as error:
        _exit(1, str(error))
    _warn(config)
    top = _Top("farm", options)
    farm = Farm(_steady_reactor(), handed, sockets, lock, options["app"], _fail_at_end)
    farm.setServiceParent(top)
    Reload(_reactor(), handed.config, farm.renew).setServiceParent(top)
    return top


def _enough(who: str) -> None:
    try:
        enough_for(0, who)
    except CannotStart as error:
        _exit(1, str(error))


def _warn(config: FarmConfig) -> None:
    for words in remarks(config):
        _log.warn("{words}", words=words)


def _keep_up(
    top: MultiService,
    config: FarmConfig,
    process: Balancer | TLSServer,
    section: str,
    supervised: bool,
) -> None:
    watch = assemble.keep_up(config, process)
    if watch is not None:
        watch.setServiceParent(top)
    log = Logger(namespace="homing.farm.processes.reload")
    started = with_lists(config)

    def renew(new: FarmConfig, found: list[Change]) -> FarmConfig:
        renewed = in_force(started, new)
        assemble.renew(renewed, process)
        tell(log, found, section, alone=not supervised)
        return renewed

    Reload(_reactor(), started, renew).setServiceParent(top)


def _load(path: str | None, supervised: bool) -> FarmConfig:
    if supervised:
        return handed_down(CONFIG_DESCRIPTOR)
    if path is None:
        _exit(2, "--config is missing: the path of a farm.toml")
    try:
        return load(Path(path).absolute())
    except InvalidConfig as error:
        _exit(2, str(error))


def _inherited_sockets(config: FarmConfig) -> list[socket]:
    """The listening sockets that homing-farm keeps, one for each endpoint of farm.toml."""
    return [adopted(FIRST_SOCKET + index) for index in range(len(config.balancer.listen))]


def _exit(status: int, message: str, supervised: bool = False) -> NoReturn:
    """End with a line on standard error; as an error to the parent that passes our log on."""
    if supervised:
        line = for_parent(Line(time.time(), "error", message, "", {}))
        print(line, end="", file=sys.__stdout__, flush=True)
    else:
        # What twistd has put in the place of standard error is its log
        is_log = isinstance(sys.stderr, LoggingFile)
        print(message, file=sys.__stderr__ if is_log else sys.stderr, flush=True)
    raise SystemExit(status)


def _fail_at_end() -> None:
    """Have the process end with status 1 after a clean shutdown; twistd has no way to say so."""
    core: IReactorCore = _reactor()
    core.addSystemEventTrigger("after", "shutdown", os._exit, 1)


def _reactor() -> Any:
    from twisted.internet import reactor  # installs it, so not before twistd had its say

    return cast(Any, reactor)


def _steady_reactor() -> Any:
    """The reactor, whose timers follow no jumps of the wall clock.

    Not for servers: applications such as Twisted's web take its time for that of the day.
    """
    reactor = _reactor()
    reactor.seconds = time.monotonic
    return reactor
