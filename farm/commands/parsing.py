"""What the commands' argument parsers have in common."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from homing.farm.config.demo import MOST_SERVERS
from homing.farm.config.faults import printable
from homing.shared.addresses import split_host_and_port
from homing.shared.errors import HomingError

Run = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_WIDE = 240


class InvalidArgument(HomingError):
    """An argument that only its command can find wrong."""

    def __init__(self, argument: object, fault: str) -> None:
        super().__init__(f"{argument}: {fault}")


def add(
    commands: Commands, name: str, summary: str, example: str, run: Run
) -> argparse.ArgumentParser:
    """Add a command, whose `--help` ends with `example`.

    An InvalidArgument that `run` raises is bad usage: exit status 2, as argparse has it.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def checked(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except InvalidArgument as error:
            stderr().print(f"{command.prog}: {printable(str(error))}", soft_wrap=True)
            return 2

    command.set_defaults(run=checked)
    return command


def count(text: str) -> int:
    """A whole number from 1 on, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def servers(text: str) -> int:
    """How many servers a demo farm has, as an argparse type."""
    if count(text) > MOST_SERVERS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_SERVERS}")
    return int(text)


def host_and_port(text: str) -> str:
    """HOST:PORT, as an argparse type."""
    try:
        split_host_and_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def stdout() -> Console:
    """Standard output; wide when it is no terminal, so that no line is folded in a file."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() else width
    return Console(width=width, highlight=False, markup=False, emoji=False)


def show(table: Table) -> None:
    """Print a table, its title as a line of its own: rich would fold it at the table's width."""
    title, table.title = table.title, None
    if title:
        stdout().print(title, soft_wrap=True)
    stdout().print(table)


def stderr() -> Console:
    """Where progress and remarks go."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)
