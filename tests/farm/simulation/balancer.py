"""A balancer's process: its table, its presence, and at one of them the manager."""

from __future__ import annotations

from homing.balancer.follower import Follower
from homing.balancer.management.absences import Absences
from homing.balancer.management.manager import manage
from homing.balancer.table import Table
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import BalancerPresence, ManagerPresence
from tests.farm.simulation.process import Lease, Process
from tests.farm.simulation.world import LIFETIME, PRESENCE, World


class Balancer(Process):
    """One incarnation of a balancer."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.table = Table()
        self.follows = 0
        """The revision that its table in force follows."""
        self._follower = Follower(lambda names: {}, world.fail)
        self.presence = Lease(self, keys.balancer(name), PRESENCE)
        self.manages = Lease(self, keys.MANAGER, PRESENCE)
        self.me = ManagerPresence(name, self.incarnation)
        self.absences = Absences()
        self.reports: list[str] = []
        self._managed = -100.0

    @property
    def is_present(self) -> bool:
        """Whether others wait for its table, and it takes connections."""
        item = self.world.item(self.presence.key)
        return item is not None and item.lease == self.presence.lease and self.accepts()

    def accepts(self) -> bool:
        """It has followed what happened before it was there."""
        return self.follows >= self.presence.revision

    def work(self, changed: bool) -> None:
        if not self.world.chance(0.2):
            self._take_over()
        self.presence.keep(BalancerPresence(self.incarnation, epoch=self.epoch()))
        self.manages.keep(self.me)
        if self.view.single(keys.MANAGER) != self.me:
            self.absences = Absences()
        elif changed or self.world.now >= self._managed + 2:
            self._managed = self.world.now
            self._manage()
        if not self.world.chance(0.5):
            self._take_over()

    def _take_over(self) -> None:
        if self.changed or self.follows != self.view.revision:
            self.table = self._follower.follow(self.view, self.changed).table
            self.follows = self.view.revision
            self.changed = set()

    def route(self, one: bytes) -> str | None:
        """The server that an identifier belongs to."""
        found = self.table.find(one)
        return None if found is None else found.owner

    def epoch(self) -> int:
        """What it says that its table follows."""
        return self.table.epoch

    def _manage(self) -> None:
        owners = {name for name, parts in self.view.owned.items() if parts}
        owners |= {name.split("/")[1] for name in self.view.exceptions} | self.view.wishes.keys()
        now = self.world.now
        self.absences.look(owners, self.view.assignments, now)
        over = self.absences.over(LIFETIME, now)
        if self.idle:
            self.outbox.extend(
                manage(self.view, self.me, self.world.scheme, over, self.reports.append)
            )
