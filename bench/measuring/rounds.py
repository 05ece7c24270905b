"""Contestants measured in turn, round by round, so that what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@attrs.frozen(kw_only=True)
class Sample:
    """What one contestant did in one round; times in seconds."""

    connections: int
    cpu_process: float
    """Of the process, or processes, that are measured."""
    cpu_machine: float
    """Of the whole machine meanwhile: clients, servers and softirqs too, and whoever else works."""
    elapsed: float
    p50: float = 0.0
    """Latency within which half of the connections had their first byte."""
    p99: float = 0.0

    @property
    def cpu(self) -> float:
        """CPU time of the process for each connection."""
        return self.cpu_process / self.connections

    @property
    def machine(self) -> float:
        """CPU time of the machine for each connection."""
        return self.cpu_machine / self.connections

    @property
    def rate(self) -> float:
        """Connections a second."""
        return self.connections / self.elapsed


def in_turn(
    contestants: Mapping[str, Callable[[], Sample]],
    rounds: int,
    progress: Callable[[str], object] = lambda name: None,
) -> dict[str, list[Sample]]:
    """A sample of every contestant in every round; who begins changes from round to round.

    `progress` hears the name of each contestant before its turn.
    """
    names = list(contestants)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            progress(name)
            samples[name].append(contestants[name]())
    return samples


def middle(samples: Iterable[Sample], of: Callable[[Sample], float]) -> float:
    """The median of what `of` says of each sample."""
    return median(map(of, samples))


def percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, by nearest rank; 0 where there are none."""
    if not latencies:
        return 0.0, 0.0
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[min(last, int(0.99 * len(ordered)))]


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr; call what it gives with the name of each step when that begins."""
    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=name)
            begun += 1

        yield begin
