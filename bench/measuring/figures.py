"""Figures: ours beside a peer's, what was asked and what was dreamt of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs
from rich.table import Table
from rich.text import Text

from homing.farm.commands.parsing import stdout


@attrs.frozen
class Figure:
    """One row of the results."""

    figure: str
    ours: float
    peer: float
    unit: str
    asked: float | None = None
    """What the ratio should be at most (or at least, where more is better); None: no aim."""
    dream: float | None = None
    more_is_better: bool = attrs.field(default=False, kw_only=True)

    @property
    def ratio(self) -> float | None:
        """Ours for one of the peer's; None where the peer has none."""
        return self.ours / self.peer if self.peer else None

    @property
    def is_met(self) -> bool | None:
        """Whether what was asked is reached; None where nothing was asked or nothing compares."""
        if self.asked is None or self.ratio is None:
            return None
        ratio = round(self.ratio, 2)  # as it is shown
        return ratio >= self.asked if self.more_is_better else ratio <= self.asked


_STYLES = {True: "green", False: "red", None: ""}


def show(figures: Sequence[Figure], title: str) -> None:
    """Print the figures as a table, its title as a line of its own."""
    table = Table()
    table.add_column("figure", overflow="fold")
    for heading in ("ours", "peer", "unit", "ratio", "asked", "dream"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for one in figures:
        shown = Text(short(one.ratio), _STYLES[one.is_met])
        aims = short(one.asked), short(one.dream)
        table.add_row(one.figure, short(one.ours), short(one.peer), one.unit, shown, *aims)
    console = stdout()
    console.print(title, soft_wrap=True)
    console.print(table)


def short(number: float | None) -> str:
    """For people: three digits or so."""
    if number is None:
        return ""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def write_json(figures: Sequence[Figure], file: Path) -> None:
    """For programs: a list, with an object a figure."""
    file.write_text(json.dumps([plain(one) for one in figures], indent=1) + "\n")


def plain(figure: Figure) -> dict[str, str | float | None]:
    """A figure for programs; `asked` and `dream` where there are any."""
    aims = {"asked": figure.asked, "dream": figure.dream}
    return {
        "figure": figure.figure,
        "ours": figure.ours,
        "peer": figure.peer,
        "ratio": figure.ratio,
        "unit": figure.unit,
        **{name: aim for name, aim in aims.items() if aim is not None},
    }
