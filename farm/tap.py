"""The options and services of the twistd plugins."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, cast

from twisted.application.service import IService, IServiceCollection, MultiService
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.usage import Options

from balancer.service import Balancer
from farm import assemble
from farm.config import RESUMPTION, SCHEMES, FarmConfig, load
from farm.demo import MOST_SERVERS, write_demo
from farm.faults import InvalidConfig
from farm.guard import demo, remarks
from farm.logs import Logs
from farm.supervised import Supervised
from farm.supervisor import Farm
from farm.values import Endpoint
from server.service import TLSServer
from shared.errors import HomingError

_LOG_JSON = [
    "log-json",
    None,
    None,
    "Add the log to this file, too: one JSON object a line, for machines.",
]

_log = Logger()


class BalancerOptions(Options):
    """twistd homing-balancer."""

    optParameters = [["config", "c", None, "The farm.toml to run the balancer of."], _LOG_JSON]
    optFlags = [["supervised", None, "Run as a child of homing-farm."]]
    longdesc = "One balancer.  Example:  twistd -n homing-balancer --config farm.toml"


class ServerOptions(Options):
    """twistd homing-server."""

    optParameters = [
        ["config", "c", None, "The farm.toml of the farm."],
        ["name", "s", None, "Which [[server]] of it to run."],
        [
            "app",
            "a",
            None,
            "What to serve: module:factory, a Twisted protocol factory or something callable that "
            "returns one; tcp:HOST:PORT, a plain upstream; or tcp+proxy:HOST:PORT, one told "
            "the client's address, by PROXY protocol v2. [default: the demo application]",
        ],
        _LOG_JSON,
    ]
    optFlags = [["supervised", None, "Run as a child of homing-farm."]]
    longdesc = "One server.  Example:  twistd -n homing-server --config farm.toml --name s1"


class FarmOptions(Options):
    """twistd homing-farm."""

    optParameters = [
        ["servers", "n", None, "How many servers to run. [default: 4]"],
        [
            "listen",
            "l",
            None,
            "Where the balancer listens, a Twisted endpoint. "
            "[default: tcp:8443:interface=127.0.0.1]",
        ],
        [
            "state-dir",
            "d",
            None,
            "Folder for certificates, sockets and farm.json. [default: ./homing-state]",
        ],
        ["scheme", None, None, f"How IDs are assigned: {', '.join(SCHEMES)}. [default: range]"],
        [
            "resumption",
            None,
            None,
            f"What clients get to come back with: {', '.join(RESUMPTION)}. [default: both]",
        ],
        [
            "config",
            "c",
            None,
            "Run every managed server of this farm.toml, instead of demo servers.",
        ],
        ["app", "a", None, "What the servers serve; see homing-server. [default: the demo]"],
        _LOG_JSON,
    ]
    optFlags = [
        ["relay", "r", "Servers listen on loopback TCP and the balancer relays to them."],
    ]
    longdesc = (
        "A whole farm on this machine.  Examples:  twistd -n homing-farm   "
        "twistd -n homing-farm --servers 8 --listen tcp:443   "
        "twistd -n homing-farm --config farm.toml"
    )


class _Top(MultiService):
    """Has twistd log as we do; ends the process with a message alone where it cannot start."""

    _log = Logger()

    def __init__(self, process: str, options: Options) -> None:
        super().__init__()
        twistd = options.parent
        self._daemon = twistd is not None and not twistd["nodaemon"]
        try:
            supervised = bool(options.get("supervised"))
            self._logs = Logs(process, options.parent, options["log-json"], supervised)
        except HomingError as error:
            _exit(2, str(error))

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
                _exit(1, str(error))
            self._log.critical("{error}", error=error)
            # The process that the user called waits for the daemon's word, for ever if it ends by
            # SystemExit.  twistd passes on the first 98 bytes, this name among them
            raise RuntimeError(str(error)) from None


def make_balancer(options: BalancerOptions) -> IService:
    """The service of twistd homing-balancer."""
    _allow_many_descriptors()
    config = _load(options["config"])
    reactor = _reactor()
    reactor.seconds = time.monotonic  # Twisted's own timers would follow jumps of the wall clock
    try:
        balancer = assemble.balancer(reactor, config)
    except HomingError as error:
        _exit(2, str(error))
    except OSError as error:
        _exit(1, str(error))
    top = _Top("balancer", options)
    balancer.setServiceParent(top)
    _keep_up(top, config, balancer)
    if options["supervised"]:
        child = Supervised(_reactor(), top.flush)
        child.setServiceParent(top)
        managed = [one.name for one in config.server if one.managed]
        balancer.when_up(managed).addCallback(lambda _: child.ready(listen=balancer.addresses))
    else:
        _warn(config)
    return top


def make_server(options: ServerOptions) -> IService:
    """The service of twistd homing-server."""
    _allow_many_descriptors()
    config = _load(options["config"])
    if options["name"] is None:
        _exit(2, f"--name is missing; servers: {', '.join(one.name for one in config.server)}")
    top = _Top(options["name"], options)
    try:
        server = assemble.server(_reactor(), config, options["name"], options["app"])
        server.setServiceParent(top)
        _keep_up(top, config, server)
    except HomingError as error:
        _exit(2, str(error))
    except OSError as error:
        _exit(1, str(error))
    if options["supervised"]:
        child = Supervised(_reactor(), top.flush)
        child.setServiceParent(top)
        _reactor().callWhenRunning(child.ready)
    else:
        _warn(config)
    return top


def make_farm(options: FarmOptions) -> IService:
    """The service of twistd homing-farm."""
    try:
        config = load(_farm_toml(options))
        if config.tls.certificate is None:
            demo(config)  # now, or every server would make its own
        assemble.balancer(_reactor(), config)  # all that is wrong with the file, said once
    except HomingError as error:
        _exit(2, str(error))
    except OSError as error:
        _exit(1, str(error))
    _warn(config)
    top = _Top("farm", options)
    Farm(_reactor(), config, options["app"], _fail_at_end).setServiceParent(top)
    return top


def _warn(config: FarmConfig) -> None:
    for words in remarks(config):
        _log.warn("{words}", words=words)


def _keep_up(top: MultiService, config: FarmConfig, process: Balancer | TLSServer) -> None:
    watch = assemble.keep_up(config, process)
    if watch is not None:
        watch.setServiceParent(top)


def _farm_toml(options: FarmOptions) -> Path:
    """The farm.toml that the options name, or that of a demo farm.  Raises HomingError."""
    demo = ("servers", "listen", "state-dir", "scheme", "resumption", "relay")
    if options["config"] is not None:
        given = [f"--{name}" for name in demo if options[name]]
        if given:
            raise HomingError(f"{', '.join(given)}: say this in {options['config']} instead")
        return Path(options["config"])
    servers = options["servers"] or "4"
    if not servers.isdecimal() or not 0 < int(servers) <= MOST_SERVERS:
        raise HomingError(f"--servers {servers}: expected a number from 1 to {MOST_SERVERS}")
    scheme = options["scheme"] or SCHEMES[0]
    if scheme not in SCHEMES:
        raise HomingError(f"--scheme {scheme}: expected one of {', '.join(SCHEMES)}")
    resumption = options["resumption"] or RESUMPTION[0]
    if resumption not in RESUMPTION:
        raise HomingError(f"--resumption {resumption}: expected one of {', '.join(RESUMPTION)}")
    try:
        listen = Endpoint.parse(options["listen"] or "tcp:8443:interface=127.0.0.1")
    except ValueError as error:
        raise HomingError(f"--listen {error}") from None
    folder = Path(options["state-dir"] or "homing-state").absolute()
    relay = bool(options["relay"])
    return write_demo(folder, int(servers), listen, scheme, relay, resumption=resumption)


def _load(path: str | None) -> FarmConfig:
    if path is None:
        _exit(2, "--config is missing: the path of a farm.toml")
    try:
        return load(Path(path).absolute())
    except InvalidConfig as error:
        _exit(2, str(error))


def _exit(status: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)  # noqa: T201
    raise SystemExit(status)


def _fail_at_end() -> None:
    """Have the process end with status 1 after a clean shutdown; twistd has no way to say so."""
    core: IReactorCore = _reactor()
    core.addSystemEventTrigger("after", "shutdown", os._exit, 1)


def _allow_many_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: every connection takes one or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _reactor() -> Any:
    from twisted.internet import reactor  # installs it, so not before twistd had its say

    return cast(Any, reactor)
