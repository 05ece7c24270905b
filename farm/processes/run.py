"""`homing farm`, `homing balancer` and `homing server`: the twistd plugins, in the foreground.

Twisted's own runner runs them, so signals, exit statuses and logs are those of twistd.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from twisted.application.service import ServiceMaker
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

COMMAND = (sys.executable, "-P", "-m", "homing")
"""The `homing` command, wherever its script may be, and whatever lies in the current folder."""

PROCESSES = {
    "farm": "run a whole farm on this machine",
    "balancer": "run one balancer",
    "server": "run one server of a farm",
}
"""Each a module beside this one, with its `Options` and `makeService`."""

INTERRUPTED = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


class _Twistd(ServerOptions):
    """The options of twistd, with our processes in the place of the plugins that it would find."""

    synopsis = "Usage: homing"

    def _getPlugins(self, _: object) -> list[ServiceMaker]:  # type: ignore[override]
        return [
            ServiceMaker(name, f"homing.farm.processes.{name}", summary, name)
            for name, summary in PROCESSES.items()
        ]


def run(arguments: Sequence[str]) -> int:
    """Run the process that the first of `arguments` names, until it ends; returns its status."""
    options = _Twistd()
    try:
        options.parseOptions(["--nodaemon", "--pidfile=", *arguments])
    except UsageError as error:
        command = f"homing {arguments[0]}"
        print(f"{command}: {error}\ntry: {command} --help", file=sys.stderr)  # noqa: T201
        return 2
    try:
        runApp(options)
    except KeyboardInterrupt:  # before the reactor handles it
        return INTERRUPTED
    return 0


def interruptible() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, for which the reactor puts its own handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
