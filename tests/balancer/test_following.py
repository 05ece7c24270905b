"""Balancers over one registry, each with a farm.toml of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed

from homing.balancer.follower import Follower
from homing.balancer.following import PATIENCE, Following
from homing.balancer.saved import Saved
from homing.balancer.service import Balancer
from homing.balancer.table import Table
from homing.server.files import read, replace
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode
from homing.shared.farm_state.values import BalancerPresence, FarmValue, ManagerPresence
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Batch, Transaction
from homing.shared.registry.memory import MemoryRegistry
from tests.balancer.running import OPTIONS, to_servers
from tests.shared.registry.simulated import SimulatedClient
from tests.turns import TurningClock

FARM = FarmValue("range", b"HOME".hex(), 3)


class Farm:
    """Balancers whose farm.toml want that the farm keeps so much spare."""

    def __init__(self, folder: Path) -> None:
        self.clock = TurningClock()
        self.registry = MemoryRegistry(self.clock.seconds)
        self.wanted: dict[str, FarmValue] = {}
        self._folder = folder

    def start(self, name: str, spare: float) -> Following:
        self.wanted[name] = attrs.evolve(FARM, spare=spare)

        def wishes(view: View) -> Iterator[Transaction]:
            if view.farm != self.wanted[name]:
                yield view.change({keys.FARM: self.wanted[name]})

        def at_once(write: Callable[[], None]) -> Deferred[None]:
            write()
            return succeed(None)

        clock: Any = self.clock
        module = Following(
            clock,
            SimulatedClient(self.registry, clock),
            Balancer(clock, OPTIONS, Table(), {}, sockets=()),
            Follower(lambda names: {}, lambda line: None),
            to_servers(self._folder),
            me=ManagerPresence(name, name, name),
            presence=BalancerPresence(name, name),
            saved=Saved(clock, at_once, self._folder / name, read, replace),
            without=lambda: Batch(0, is_whole=True),
            wishes=wishes,
        )
        module.startService()
        return module

    def go_on(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.1)):
            self.clock.advance(0.1)

    @property
    def spare(self) -> float:
        return decode(FarmValue, self.registry.items[keys.FARM].value).spare


def test_two_balancers_whose_files_differ_do_not_contradict_each_other_for_ever(
    tmp_path: Path,
) -> None:
    farm = Farm(tmp_path)
    modules = [farm.start("b1", 0.1), farm.start("b2", 0.3)]
    farm.go_on(3)
    before = farm.registry.items[keys.FARM].revision
    farm.go_on(10)
    assert farm.registry.items[keys.FARM].revision == before

    farm.wanted["b1"] = attrs.evolve(FARM, spare=0.5)
    modules[0].look_again()
    farm.go_on(3)
    assert farm.spare == 0.5, "a file that was edited counts again"
    for one in modules:
        one.stopService()


def test_a_file_that_is_edited_while_the_one_before_is_taken_over_is_not_forgotten(
    tmp_path: Path,
) -> None:
    farm = Farm(tmp_path)
    module = farm.start("b1", 0.1)
    while keys.FARM not in farm.registry.items:
        farm.go_on(0.1)
    farm.wanted["b1"] = attrs.evolve(FARM, spare=0.5)
    module.look_again()
    farm.go_on(3)
    assert farm.spare == 0.5
    module.stopService()


def test_one_that_leaves_before_it_has_begun_accepts_nobody_later(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    module = farm.start("b1", 0.1)
    leaving = Deferred.fromCoroutine(module.leave())
    farm.go_on(2 * PATIENCE)
    assert leaving.called
    assert not module._balancer.running
    module.stopService()
