"""homing reassign: a running farm is evened, now or at a given time."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from homing.farm import orders
from homing.farm.commands import parsing
from homing.farm.commands.operating.changing import add_how, add_waiting, change
from homing.shared.moves import Way


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "reassign",
        "even a running farm, now or at a given time",
        "  homing reassign --how drain\n  homing reassign --at 03:30 --no-wait",
        run,
    )
    command.add_argument(
        "--at",
        metavar="TIME",
        help="when parts that were drawn from move, as 2030-12-31T03:30:00Z, or 03:30 for the "
        "next such time here; they move by --how scheduled then",
    )
    add_how(command)
    add_waiting(command)


def run(options: argparse.Namespace) -> int:
    """Even it."""
    at = how = None
    if options.at is not None:
        if options.how not in (None, Way.SCHEDULED):
            raise parsing.InvalidArgument("--at", f"goes with --how scheduled, not {options.how}")
        try:
            at, how = when(options.at, datetime.now().astimezone()).timestamp(), Way.SCHEDULED
        except ValueError as error:
            raise parsing.InvalidArgument("--at", str(error)) from None
    return change(options, lambda view: orders.reassign(view, how or options.how, at))


def when(text: str, now: datetime) -> datetime:
    """The time to come that `text` says; without a zone it is in that of `now`.

    Raises ValueError.
    """
    try:
        if "-" not in text:
            time = datetime.strptime(text, "%H:%M").time()
            at = datetime.combine(now, time, now.tzinfo)
            return at if at > now else at + timedelta(days=1)
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time; allowed: as 2030-12-31T03:30:00Z, or 03:30"
        ) from None
    if at <= now:
        raise ValueError(f"{text!r} is over")
    return at
