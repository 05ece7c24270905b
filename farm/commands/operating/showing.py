"""Shows people how far a farm is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from homing.farm.commands import parsing
from homing.farm.commands.operating.carrying_out import Showing
from homing.farm.config.faults import printable
from homing.farm.progress import Progress

_EVERY = 5.0
"""Seconds between two lines that say the same but for a number."""


@contextmanager
def showing() -> Iterator[Showing]:
    """What shows the progress of one command, on standard error."""
    console = parsing.stderr()
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        yield _OnTerminal(bar)


class Lines:
    """A line for every change of what is waited for, but not too many."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._next = 0.0

    def step(self, progress: Progress) -> None:
        words, now = progress.words, monotonic()
        if words and words != self._said and now >= self._next:
            self._said, self._next = words, now + _EVERY
            self.say(words)

    def say(self, words: str) -> None:
        self._console.print(printable(words), soft_wrap=True)


class _OnTerminal:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._most = 0

    def step(self, progress: Progress) -> None:
        self._most = max(self._most, progress.left)
        self._bar.update(
            self._task,
            total=self._most or None,
            completed=self._most - progress.left,
            description=printable(progress.words),
        )

    def say(self, words: str) -> None:
        self._bar.console.print(printable(words), soft_wrap=True)
