"""What farms, balancers and servers have in common as processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any, NoReturn, cast

from twisted.application.service import IServiceCollection, MultiService
from twisted.logger import Logger, LoggingFile
from twisted.python.failure import Failure
from twisted.python.usage import Options

from homing import __version__
from homing.balancer.listening import open_for
from homing.balancer.service import Balancer
from homing.farm import assemble
from homing.farm.config.changes import Change, Needs, in_force
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import CannotStart
from homing.farm.config.guard import remarks
from homing.farm.config.sections import FarmConfig
from homing.farm.joining import Joined
from homing.farm.logs.lines import Line, for_parent
from homing.farm.logs.logs import Logs
from homing.farm.processes.descriptors import allow_many, enough_for
from homing.farm.processes.inherited import CONFIG_DESCRIPTOR, inherited_config, with_lists
from homing.farm.processes.reload import Reload, hold_hangups, tell
from homing.farm.processes.run import interruptible
from homing.farm.processes.supervised import Supervised
from homing.server.service import TLSServer
from homing.shared.errors import HomingError

_log = Logger()


class ProcessOptions(Options):
    """The options that all three have."""

    optParameters: Sequence[Sequence[str | None]] = (
        ("log-json", None, None, "Add the log to this file, too: one JSON object a line."),
    )

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(f"homing {__version__}")
        raise SystemExit(0)


class PartOptions(ProcessOptions):
    """The options of a balancer or a server."""

    optParameters: Sequence[Sequence[str | None]] = (
        ("config", "c", None, "The farm.toml of the farm."),
    )
    optFlags: Sequence[Sequence[str | None]] = (
        ("supervised", None, "Run as a child of homing farm."),
    )


class Process(MultiService):
    """The top service of a process: sets up its log, and turns a failed start into one message.

    Raises HomingError when the file for the log cannot be used.
    """

    _log = Logger()

    def __init__(self, name: str, options: Options) -> None:
        super().__init__()
        twistd = options.parent
        self._daemon = twistd is not None and not twistd["nodaemon"]
        self._supervised = bool(options.get("supervised"))
        self._logs = Logs(name, twistd, options["log-json"], supervised=self._supervised)

    def setServiceParent(self, parent: IServiceCollection) -> None:
        self._logs.install(parent)
        super().setServiceParent(parent)

    def startService(self) -> None:
        interruptible()
        self._logs.start(reactor())
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

    def run(
        self,
        config: FarmConfig,
        part: Balancer | TLSServer,
        section: str,
        joined: Joined | None = None,
    ) -> None:
        """Run `part`, and have it follow `config`, whose `section` is its own.

        If it has `joined` a registry, that runs it.
        """
        if not self._supervised:
            warn(config)
        (part if joined is None else joined.service).setServiceParent(self)
        if watch := assemble.keep_up(config, part, joined):
            watch.setServiceParent(self)
        log = Logger(namespace="homing.farm.processes.reload")

        def renew(new: FarmConfig, found: list[Change]) -> FarmConfig:
            renewed = in_force(config, new)
            assemble.renew(renewed, part)
            if joined is not None:
                joined.renew(in_force(config, new, frozenset({Needs.NOTHING, Needs.REGISTRY})))
            tell(log, found, section, alone=not self._supervised)
            return renewed

        Reload(reactor(), config, renew).setServiceParent(self)

    def supervise(self) -> Supervised | None:
        """Stop when the parent does, if there is one; returns what tells it that we are ready."""
        if not self._supervised:
            return None
        child = Supervised(reactor(), self._logs.flush)
        child.setServiceParent(self)
        return child


@contextmanager
def starting(who: str, supervised: bool = False) -> Iterator[None]:
    """Start a process: SIGHUP is blocked, and an error ends it with one line and a status."""
    hold_hangups()
    allow_many()
    try:
        enough_for(0, who)
        yield
    except (CannotStart, OSError) as error:
        _exit(1, str(error), supervised)
    except HomingError as error:
        _exit(2, str(error), supervised)


def configuration(options: Options) -> FarmConfig:
    """The configuration that the farm passed, or else the farm.toml, with its list files.

    Raises HomingError.
    """
    if options["supervised"]:
        return inherited_config(CONFIG_DESCRIPTOR)
    if options["config"] is None:
        raise HomingError("--config is missing: the path of a farm.toml")
    return with_lists(load(Path(options["config"]).absolute()))


def listening(config: FarmConfig, workers: int) -> list[list[socket]]:
    """The balancer's sockets, by worker.  Raises CannotStart."""
    try:
        return open_for(workers, [one.description for one in config.balancer.listen])
    except HomingError as error:
        raise CannotStart(str(error)) from None


def warn(config: FarmConfig) -> None:
    """Log what is unsafe about a configuration."""
    for words in remarks(config):
        _log.warn("{words}", words=words)


def _exit(status: int, message: str, supervised: bool = False) -> NoReturn:
    """End with a line on standard error or, to the parent that reads our log, as an error."""
    if supervised:
        line = for_parent(Line(time.time(), "error", message, "", {}))
        print(line, end="", file=sys.__stdout__, flush=True)
    else:
        # What twistd has put in the place of standard error is its log
        is_log = isinstance(sys.stderr, LoggingFile)
        print(message, file=sys.__stderr__ if is_log else sys.stderr, flush=True)
    raise SystemExit(status)


def defect(failure: Failure) -> None:
    """Log one that nothing else reports."""
    _log.failure("a defect", failure)


def say(words: str) -> None:
    """Print to standard error, before there is a log."""
    print(words, file=sys.stderr, flush=True)


def fail_at_end(status: int) -> None:
    """Exit with `status` after a clean shutdown; twistd itself would exit with 0."""
    reactor().addSystemEventTrigger("after", "shutdown", os._exit, status)


def reactor() -> Any:
    """The reactor."""
    from twisted.internet import reactor  # installs one, so not before twistd has chosen

    return cast(Any, reactor)


def steady_reactor() -> Any:
    """The reactor, whose timers follow no jumps of the wall clock.

    Not for servers: applications such as Twisted's web take its time for that of the day.
    """
    steady = reactor()
    steady.seconds = time.monotonic
    return steady
