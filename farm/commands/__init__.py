"""The `homing` command.  Data goes to stdout, everything else to stderr.

Exit status: 0 on success, 1 when what was asked for failed, 2 for bad usage or input.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from homing.farm.config.faults import InvalidConfig
from homing.farm.processes.run import INTERRUPTED, PROCESSES, interruptible, run
from homing.shared.errors import HomingError

_STDOUT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in PROCESSES:
        return run(arguments)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    from homing.farm.commands.command_line import parser  # not before: a server needs none of it

    options = parser().parse_args(arguments)
    globalLogPublisher.addObserver(_tell)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        interruptible()
        status: int = options.run(options)
    except InvalidConfig as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except HomingError as error:
        print(f"homing: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:  # the disk that holds our output is full, for instance
        print(f"homing: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # or what is left of it fails at exit
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        globalLogPublisher.removeObserver(_tell)
    return status


def _terminate(number: int, _: object) -> NoReturn:
    """Unwind what a command has begun: folders, processes, announced keys."""
    raise SystemExit(128 + number)


@provider(ILogObserver)
def _tell(event: LogEvent) -> None:
    """Print warnings and errors, which a farm would write to its log."""
    if event["log_level"] in (LogLevel.warn, LogLevel.error, LogLevel.critical):
        print(f"homing: {formatEvent(event)}", file=sys.stderr)  # noqa: T201
