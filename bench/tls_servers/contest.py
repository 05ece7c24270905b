"""Servers, or farms, that serve crowds in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

import attrs

from bench.measuring.cpu import cpu_of, machine_cpu
from bench.measuring.figures import Figure
from bench.measuring.rounds import Sample, in_turn, middle, percentiles
from bench.tls_clients.client import Kind
from bench.tls_clients.crowd import Crowd
from bench.tls_servers.running import Running

Progress = Callable[[str], object]


@attrs.frozen
class Size:
    """How much is measured."""

    rounds: int
    visits: int
    """Of each contestant in each round."""


class Contestant:
    """A server or a farm, and clients that have all been there."""

    def __init__(self, running: Running, kinds: Sequence[Kind], visits: int) -> None:
        self._pids = running.pids
        self._visits = visits
        self._crowd = Crowd(running.port, kinds)
        self._crowd.meet()
        self._hits: list[float] = []

    @property
    def hit_rate(self) -> float:
        """The part of the visits that were resumed."""
        return mean(self._hits)

    def round(self) -> Sample:
        """Have the clients come back."""
        process, machine = cpu_of(self._pids), machine_cpu()
        crowded = self._crowd.visit(self._visits)
        process, machine = cpu_of(self._pids) - process, machine_cpu() - machine
        self._hits.append(crowded.resumed / self._visits)
        p50, p99 = percentiles([one.seconds for one in crowded.visits])
        return Sample(
            connections=self._visits,
            cpu_process=process,
            cpu_machine=machine,
            elapsed=crowded.seconds,
            p50=p50,
            p99=p99,
        )


@attrs.frozen
class Result:
    """The medians of a contestant's rounds."""

    samples: Sequence[Sample]
    hit_rate: float

    def compared(self, what: Measure, peer: Result, figure: str, *aims: float) -> Figure:
        """A figure of this one and of `peer`; `aims` are what is asked, and dreamt of."""
        ours, theirs = what.of(self), what.of(peer)
        return Figure(figure, ours, theirs, what.unit, *aims, more_is_better=what.more_is_better)


@attrs.frozen
class Measure:
    """What is compared."""

    name: str
    unit: str
    of: Callable[[Result], float]
    more_is_better: bool = False


def _median(of: Callable[[Sample], float], scale: float = 1) -> Callable[[Result], float]:
    return lambda result: scale * middle(result.samples, of)


CPU = Measure("CPU", "us", _median(lambda one: one.cpu, 1e6))
MACHINE = Measure("machine's CPU", "us", _median(lambda one: one.machine, 1e6))
RATE = Measure("connections/s", "1/s", _median(lambda one: one.rate), more_is_better=True)
P50 = Measure("p50", "ms", _median(lambda one: one.p50, 1e3))
P99 = Measure("p99", "ms", _median(lambda one: one.p99, 1e3))
HITS = Measure("hit rate", "%", lambda one: 100 * one.hit_rate, more_is_better=True)


def contest(
    running: dict[str, Running], kinds: Sequence[Kind], size: Size, progress: Progress, what: str
) -> dict[str, Result]:
    """What all that run did for the same clients, in turn."""
    contestants = {name: Contestant(one, kinds, size.visits) for name, one in running.items()}
    rounds = {name: one.round for name, one in contestants.items()}
    samples = in_turn(rounds, size.rounds, lambda name: progress(f"{what}: {name}"))
    return {name: Result(samples[name], one.hit_rate) for name, one in contestants.items()}
