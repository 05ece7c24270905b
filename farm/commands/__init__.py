"""The `homing` command.  Data goes to stdout, everything else to stderr.

Exit status: 0 on success, 1 when what was asked for failed, 2 for bad usage or input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from homing.farm.commands import certs, check, explain, hit_rate, rotate_key
from homing.farm.config.faults import InvalidConfig
from homing.shared.errors import HomingError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="homing",
        description="A TLS server farm whose sessions find their way home.",
        epilog="Run a farm with:  twistd -n homing-farm",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in (check, explain, certs, rotate_key):
        command.add(commands)
    bench = commands.add_parser(
        "bench",
        help="measure a farm",
        epilog="example:  homing bench hit-rate --clients 50 --rounds 4",
    )
    hit_rate.add(bench.add_subparsers(metavar="BENCHMARK", required=True))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    globalLogPublisher.addObserver(_tell)
    try:
        status: int = options.run(options)
    except InvalidConfig as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except HomingError as error:
        print(f"homing: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        globalLogPublisher.removeObserver(_tell)
    return status


@provider(ILogObserver)
def _tell(event: LogEvent) -> None:
    """What deserves attention goes into the logs of farms, but to the terminal of a command."""
    if event["log_level"] in (LogLevel.warn, LogLevel.error, LogLevel.critical):
        print(f"homing: {formatEvent(event)}", file=sys.stderr)  # noqa: T201
