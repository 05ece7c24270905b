"""Commands that run inside the test's process, and the tables that they print."""

from __future__ import annotations

from collections.abc import Callable

from tests.processes import Ran

Here = Callable[..., Ran]
"""Runs a command, given its arguments."""


def lines(ran: Ran) -> list[list[str]]:
    """The rows of a table on stdout, cell by cell."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in ran.out.splitlines()
        if line.startswith("│")
    ]
