"""Clients that come at the same time, a few at once."""

from __future__ import annotations

import select
from collections.abc import Sequence
from itertools import islice
from random import Random
from time import perf_counter

import attrs

from bench.tls_clients.client import Client, Kind, Visit, Visiting

AT_ONCE = 8
"""Connections that are open."""
_PATIENCE = 10.0
"""Seconds without any event after which a server hangs."""


@attrs.frozen
class Crowded:
    """What a crowd did."""

    visits: tuple[Visit, ...]
    seconds: float

    @property
    def resumed(self) -> int:
        """Visits that needed no full handshake."""
        return sum(one.resumed for one in self.visits)


class Crowd:
    """The clients of one server; `kinds` says how they shake hands, one a client."""

    def __init__(self, port: int, kinds: Sequence[Kind]) -> None:
        contexts = {kind: kind.context() for kind in kinds}
        self._clients = [
            Client(kind, contexts[kind], port, number) for number, kind in enumerate(kinds)
        ]
        self._luck = Random(130)

    def meet(self) -> None:
        """Each comes once, and gets something to come back with."""
        self._serve(list(self._clients))

    def visit(self, count: int) -> Crowded:
        """`count` visits, `AT_ONCE` at a time; who comes next is chance, as it is in life.

        In a fixed order every client would meet the same server again under round robin.
        """
        began = perf_counter()
        passes = -(-count // len(self._clients))
        order = [one for _ in range(passes) for one in self._shuffled()]
        return Crowded(tuple(self._serve(order[:count])), perf_counter() - began)

    def _shuffled(self) -> list[Client]:
        return self._luck.sample(self._clients, len(self._clients))

    @staticmethod
    def _serve(order: list[Client]) -> list[Visit]:
        """Let clients come in that order.  Raises OSError and WrongAnswer."""
        waiting = iter(order)
        visits: list[Visit] = []
        with select.epoll() as epoll:
            here: dict[int, Visiting] = {}
            while True:
                for client in islice(waiting, AT_ONCE - len(here)):
                    steps = client.visit()
                    descriptor, events = next(steps)
                    here[descriptor] = steps
                    epoll.register(descriptor, events)
                if not here:
                    return visits
                ready = epoll.poll(_PATIENCE)
                if not ready:
                    raise TimeoutError(f"no answer for {_PATIENCE:g} s")
                for descriptor, _ in ready:
                    try:
                        epoll.modify(*next(here[descriptor]))
                    except StopIteration as end:  # it closed its socket, which epoll notes
                        del here[descriptor]
                        visits.append(end.value)
