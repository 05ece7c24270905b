"""Shows the measurement in a terminal: its progress, and its result as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import JustifyMethod
from rich.progress import Progress
from rich.table import Table

from homing.farm.commands import parsing
from homing.farm.commands.hit_rate.measuring import Result

AS_OFFERED = "as offered, "
"""Starts the name of a carrier when client and farm negotiate it themselves."""
NONE = "-"
"""A column that is unknown for a farm that we did not start."""

_ALWAYS = ("carrier", "resumed", "hit rate")
_NUMBERS = ("first visits", "connections", "resumed", "hit rate")
_FEW = 4


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """What to call after each of `total` visits."""
    with Progress(console=parsing.stderr(), transient=True) as shown:
        task = shown.add_task("visits", total=total)
        yield lambda: shown.advance(task)


def sheet(results: list[Result]) -> Table:
    """The table.  Columns with one value only go into the title, so that it fits 80 columns."""
    rows = [_cells(result) for result in results]
    first = rows[0]
    varying = [
        heading
        for heading in first
        if heading in _ALWAYS or any(row[heading] != first[heading] for row in rows)
    ]
    same = [
        f"{heading}: {text}"
        for heading, text in first.items()
        if heading not in varying and text != NONE
    ]
    table = Table(title="; ".join(same))
    for heading in varying:
        justify: JustifyMethod = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(row[heading] for heading in varying))
    return table


def _cells(result: Result) -> dict[str, str]:
    """A row, by heading."""
    work, seen = result.work, result.servers
    return {
        "balancer": work.balancer,
        "scheme": work.scheme,
        "plane": work.plane,
        "carrier": work.carrier.name.removeprefix(AS_OFFERED),
        "first visits": str(result.first_visits),
        "connections": str(result.connections),
        "resumed": str(result.resumed),
        "hit rate": f"{result.hit_rate:.1f} %",
        "servers seen": (", ".join(seen) or "unknown") if len(seen) <= _FEW else str(len(seen)),
    }
