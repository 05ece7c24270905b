"""A farm in a registry's model, with its real manager; the test plays its servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

from homing.balancer.management.manager import manage
from homing.farm.orders import Order
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    BalancerPresence,
    FarmValue,
    ManagerPresence,
    PartValue,
    ServerFacts,
    ServerPresence,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.moves import TRANSITIONS, PartEvent
from homing.shared.registry.memory import MemoryClient, MemoryRegistry
from homing.shared.schemes import SCHEMES

MANAGER = ManagerPresence("balancer-1", "b1")


class ManagedFarm:
    """A farm with the servers `names`; `step` has the manager do all that is due."""

    def __init__(
        self, *names: str, scheme: str = "range", bits: int = 10, managed: bool = True
    ) -> None:
        self.registry = MemoryRegistry(time.monotonic)
        self.client = MemoryClient(self.registry)
        self.view = View()
        self.registry_follow = self.client.follow(self._apply)
        self.put("balancers/balancer-1", BalancerPresence("b1"))
        if managed:
            self.put(keys.MANAGER, MANAGER)
        prefix = "484f4d45" if SCHEMES[scheme].cut is not None else ""
        self.put(keys.FARM, FarmValue(scheme, prefix, bits if prefix else 0))
        for name in names:
            self.put(keys.wish(name), Wish(ServerFacts(f"unix:{name}.sock")))
            self.start(name)
        self.step()

    def _apply(self, batch: Any) -> None:
        self.view.apply(batch)

    def put(self, key: str, value: object | None) -> None:
        """Put a value, or delete a key."""
        assert self.registry.commit(self.view.change({key: value})) is not None

    def start(self, name: str, **facts: Any) -> None:
        """A server's presence."""
        there = ServerFacts(f"unix:{name}.sock")
        self.put(keys.server(name), ServerPresence(there, f"{name}-1", **facts))

    def stop(self, name: str) -> None:
        """It is there no more."""
        self.put(keys.server(name), None)

    def follow(self) -> None:
        """The records of all servers follow."""
        for name, known in self.view.servers.items():
            self.put(keys.server(name), attrs.evolve(known.value, epoch=self.view.revision))

    def draw(self, number: int) -> None:
        """The owner of a part has drawn from it."""
        self.put(keys.part(number), attrs.evolve(self.view.parts[number].value, drawn=True))

    def happens(self, event: PartEvent) -> None:
        """The owners of all parts that move tell of an event."""
        for number, known in tuple(self.view.parts.items()):
            part: PartValue = known.value
            if part.next is not None:
                step = TRANSITIONS[part.how][part.step][event]
                self.put(keys.part(number), attrs.evolve(part, step=step))

    def ask(self, order: Order) -> Callable[[], tuple[int, str]]:
        """Write an order; returns what tells how far it is."""
        assert self.registry.commit(self.view.change(order.changes)) is not None

        def look() -> tuple[int, str]:
            found = order.look(self.view)
            return found.left, found.words

        return look

    def step(self) -> None:
        """The manager's turn."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        assert self.view.farm is not None
        due = manage(self.view, MANAGER, SCHEMES[self.view.farm.scheme], frozenset())
        for transaction in list(due):
            if self.registry.commit(transaction) is None:
                return True
        return bool(list(manage(self.view, MANAGER, SCHEMES[self.view.farm.scheme], frozenset())))
