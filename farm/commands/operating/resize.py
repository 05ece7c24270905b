"""homing resize: a server owns more or less from now on."""

from __future__ import annotations

import argparse

from homing.farm import orders
from homing.farm.commands import parsing
from homing.farm.commands.operating.changing import add_how, add_waiting, change, share, size


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "resize",
        "have a server of a running farm own more or less",
        "  homing resize s2 10%\n  homing resize s2 --max-ids 1000000",
        run,
    )
    command.add_argument("name", metavar="NAME")
    sizes = command.add_mutually_exclusive_group(required=True)
    sizes.add_argument(
        "share", metavar="PERCENT", type=share, nargs="?", help="its part of what is not spare"
    )
    sizes.add_argument("--max-ids", type=parsing.count, metavar="N", help="exactly so many IDs")
    add_how(command)
    add_waiting(command)


def run(options: argparse.Namespace) -> int:
    """Move what must move."""
    return change(
        options, lambda view: orders.resize(view, options.name, size(options), options.how)
    )
