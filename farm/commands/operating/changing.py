"""What commands have in common that change a running farm."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from fractions import Fraction

from homing.farm.commands import parsing
from homing.farm.commands.operating.carrying_out import carry_out
from homing.farm.commands.operating.reaching import add_options, reach
from homing.farm.commands.operating.showing import showing
from homing.farm.config.values import Percent
from homing.farm.orders import Order, Size
from homing.shared.farm_state.view import View
from homing.shared.moves import Way

_NUMBER = re.compile(r"\d+(\.\d+)?\Z")


def add_waiting(command: argparse.ArgumentParser) -> None:
    """Add the options that say which farm, and how long to wait for it."""
    add_options(command)
    waiting = command.add_argument_group("waiting")
    waiting.add_argument(
        "--no-wait", action="store_true", help="return when it is asked for, not when it is done"
    )
    waiting.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="wait so long at most [for ever]"
    )


def add_how(command: argparse.ArgumentParser) -> None:
    """Add the option that says how parts move."""
    command.add_argument(
        "--how", type=_way, choices=list(Way), help="how parts move [session_ids.moving]"
    )


def change(options: argparse.Namespace, plan: Callable[[View], Order]) -> int:
    """Have the farm do what `plan` makes of its state."""
    with showing() as show:
        done = reach(
            options,
            lambda reactor, registry: carry_out(
                reactor, registry, plan, show, not options.no_wait, options.timeout
            ),
        )
    parsing.stderr().print(done, soft_wrap=True)
    return 0


def share(text: str) -> Fraction:
    """A percentage above 0, as an argparse type; the % may be left out."""
    try:
        part = Percent.parse(f"{text}%" if _NUMBER.match(text) else text).part
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not part:
        raise argparse.ArgumentTypeError(f"{text!r}: must be above 0%")
    return part


def size(options: argparse.Namespace) -> Size:
    """What the options --max-ids and share say."""
    return Size(options.share, options.max_ids)


def _way(text: str) -> Way:
    try:
        return Way(text)
    except ValueError:
        allowed = ", ".join(Way)
        raise argparse.ArgumentTypeError(f"{text!r} is no way; allowed: {allowed}") from None


def _seconds(text: str) -> float:
    if not _NUMBER.match(text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return float(text)
