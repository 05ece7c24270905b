"""homing servers: servers are added to a running farm, drained and removed."""

from __future__ import annotations

import argparse
from functools import partial

from homing.farm import orders
from homing.farm.commands import parsing
from homing.farm.commands.operating.changing import add_how, add_waiting, change, share, size
from homing.farm.config.values import Address, server_name


def add(commands: parsing.Commands) -> None:
    """Add the command and its own commands."""
    command = commands.add_parser(
        "servers",
        help="add servers to a running farm, drain or remove them",
        epilog="example:  homing servers add s5",
    )
    own = command.add_subparsers(metavar="WHAT", required=True)
    _add_add(own)
    for name, summary, order in (
        ("drain", "have a server get no new clients and own nothing", orders.drain),
        ("remove", "drain a server and have it leave the farm", orders.remove),
    ):
        one = parsing.add(own, name, summary, f"  homing servers {name} s5", partial(_leave, order))
        one.add_argument("name", metavar="NAME", type=_name)
        add_how(one)
        add_waiting(one)


def _add_add(own: parsing.Commands) -> None:
    one = parsing.add(
        own,
        "add",
        "add a server, or take back one that is drained or removed",
        "  homing servers add s5\n"
        "  homing servers add s6 --address tcp:10.0.0.9:8443 --share 10% --weight 2",
        _join,
    )
    one.add_argument("name", metavar="NAME", type=_name)
    one.add_argument(
        "--address", type=_address, metavar="A", help="unix:PATH or tcp:HOST:PORT [unix:NAME.sock]"
    )
    sizes = one.add_mutually_exclusive_group()
    sizes.add_argument(
        "--share", type=share, metavar="P", help="its part of what is not spare [an even part]"
    )
    sizes.add_argument("--max-ids", type=parsing.count, metavar="N", help="exactly so many IDs")
    one.add_argument("--weight", type=_weight, metavar="W", help="for the policies [1]")
    add_how(one)
    add_waiting(one)


def _join(options: argparse.Namespace) -> int:
    return change(
        options,
        partial(
            orders.add,
            name=options.name,
            address=options.address,
            size=size(options),
            weight=options.weight,
            how=options.how,
        ),
    )


def _leave(order: orders.Leaving, options: argparse.Namespace) -> int:
    return change(options, lambda view: order(view, options.name, options.how))


def _name(text: str) -> str:
    try:
        return server_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _address(text: str) -> str:
    try:
        return str(Address.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return weight
