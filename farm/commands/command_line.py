"""The command line of `homing`."""

from __future__ import annotations

import argparse

from homing import __version__
from homing.farm.commands import certs, check, explain, hit_rate, reload, rotate_key
from homing.farm.commands.operating import reassign, resize, servers, status
from homing.farm.processes.run import PROCESSES


def parser() -> argparse.ArgumentParser:
    """All commands; those that are processes have a parser of their own, twistd's."""
    top = argparse.ArgumentParser(
        prog="homing",
        description="A TLS server farm whose sessions find their way home.",
        epilog="Run a farm with:  homing farm",
    )
    top.add_argument("--version", action="version", version=f"homing {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in PROCESSES.items():
        commands.add_parser(name, help=summary)
    for command in (check, explain, status, servers, resize, reassign, reload, certs, rotate_key):
        command.add(commands)
    bench = commands.add_parser(
        "bench",
        help="measure a farm",
        epilog="example:  homing bench hit-rate --clients 50 --rounds 4",
    )
    hit_rate.add(bench.add_subparsers(metavar="BENCHMARK", required=True))
    return top
