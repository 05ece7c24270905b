"""One turn of a balancer: what it spends on connections, on bulk, and what it keeps of sessions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial

import attrs

from bench.balancing.balancers import Balancer
from bench.balancing.clients import PARALLEL, Driven, drive
from bench.balancing.hellos import Load, identifiers
from bench.measuring.cpu import cpu_of, machine_cpu, memory_of
from bench.measuring.rounds import Sample, in_turn, percentiles, progress_bar

Contestants = Mapping[str, AbstractContextManager[Balancer]]

_AFTERWARDS = 0.05
"""Seconds for what a balancer puts off, such as reading answers: it counts too."""
CLIENTS = 2000
"""How many different clients come back again and again."""


@attrs.define
class Results:
    """The samples of all contestants, and the share of visits that came home."""

    samples: dict[str, list[Sample]]
    home: dict[str, float]


def spent(balancer: Balancer, run: Callable[[], Driven]) -> tuple[Sample, Driven]:
    """What the balancer spends while clients run."""
    cpu, machine = cpu_of(balancer.pids), machine_cpu()
    driven = run()
    time.sleep(_AFTERWARDS)
    if driven.failed:
        raise SystemExit(f"{driven.failed} of {len(driven.servers)} connections had no answer")
    p50, p99 = percentiles(driven.latencies)
    sample = Sample(
        connections=len(driven.servers),
        cpu_process=cpu_of(balancer.pids) - cpu,
        cpu_machine=machine_cpu() - machine,
        elapsed=driven.elapsed,
        p50=p50,
        p99=p99,
    )
    return sample, driven


class Visits:
    """Clients that come back to one balancer: by their first visit it has learned where to."""

    def __init__(
        self, balancer: Balancer, load: Load, clients: Sequence[bytes], count: int
    ) -> None:
        self._balancer, self._load, self._count = balancer, load, count
        self._identifiers = clients
        first = self._drive([load.hello(one) for one in self._identifiers])
        self._homes = dict(zip(self._identifiers, first.servers, strict=True))
        self.visits = self.came_home = 0

    def __call__(self) -> Sample:
        """All visits of a round, in any order."""
        visitors = random.choices(self._identifiers, k=self._count)
        wires = [self._load.hello(one) for one in visitors]
        sample, driven = spent(self._balancer, lambda: self._drive(wires))
        self.visits += len(visitors)
        homes = zip(visitors, driven.servers, strict=True)
        self.came_home += sum(self._homes[one] == server for one, server in homes)
        return sample

    def _drive(self, wires: Sequence[bytes]) -> Driven:
        requests = self._load.order.requests
        return drive(self._balancer.address, wires, requests=requests)


def connections(
    contestants: Contestants, load: Load, servers: int, count: int, rounds: int
) -> Results:
    """`count` connections of each contestant in every round."""
    with ExitStack() as stack, progress_bar(rounds * len(contestants)) as begin:
        running = {name: stack.enter_context(one) for name, one in contestants.items()}
        clients = identifiers(servers, min(CLIENTS, count))
        visits = {name: Visits(one, load, clients, count) for name, one in running.items()}
        samples = in_turn(visits, rounds, lambda name: begin(f"{load.name}: {name}"))
    home = {name: one.came_home / one.visits for name, one in visits.items()}
    return Results(samples, home)


def bulk(contestants: Contestants, load: Load, count: int, rounds: int) -> dict[str, list[Sample]]:
    """`count` downloads, four at a time, of each contestant in every round."""

    def turn(balancer: Balancer) -> Sample:
        wires = [load.hello(one) for one in identifiers(4, count)]
        sample, driven = spent(balancer, lambda: drive(balancer.address, wires, 4))
        if driven.received < count * load.order.megabytes << 20:
            raise SystemExit("a download was cut off")
        return sample

    with ExitStack() as stack, progress_bar(rounds * len(contestants)) as begin:
        running = {name: stack.enter_context(one) for name, one in contestants.items()}
        turns = {name: partial(turn, one) for name, one in running.items()}
        return in_turn(turns, rounds, lambda name: begin(f"bulk: {name}"))


def memory(
    contestants: Contestants, load: Load, servers: int, sessions: Sequence[int]
) -> dict[str, list[int]]:
    """Bytes that each has more after so many different sessions than after one, seen often."""
    grown: dict[str, list[int]] = {}
    steps = sum(-(-each // _CHUNK) for each in sessions[-1:]) * len(contestants)
    with progress_bar(steps) as begin:
        for name, contestant in contestants.items():
            with contestant as balancer:
                drive(balancer.address, [load.hello(identifiers(1, 1)[0])] * 5000)
                time.sleep(_AFTERWARDS)
                none, seen = memory_of(balancer.pids), 0
                grown[name] = []
                for count in sessions:
                    for part in _chunks(count - seen):
                        begin(f"{count:,} sessions: {name}")
                        new = map(load.hello, identifiers(servers, part))
                        drive(balancer.address, new, PARALLEL)
                    seen = count
                    time.sleep(_AFTERWARDS)
                    grown[name].append(memory_of(balancer.pids) - none)
    return grown


_CHUNK = 10_000
"""Sessions between two steps of the progress bar."""


def _chunks(count: int) -> Iterator[int]:
    for _ in range(count // _CHUNK):
        yield _CHUNK
    if rest := count % _CHUNK:
        yield rest
