"""A balancer's process: its table, its presence, and at one of them the manager."""

from __future__ import annotations

import attrs

from homing.balancer.management.absences import Absences
from homing.balancer.management.manager import manage
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import BalancerPresence, ManagerPresence
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange
from tests.farm.simulation.process import Lease, Process
from tests.farm.simulation.world import LIFETIME, PRESENCE, World, part_of


@attrs.frozen
class Table:
    """As much of table 130 as is needed: exceptions, then own records, then parts."""

    revision: int = 0
    epoch: int = 0
    owners: dict[int, str] = attrs.field(factory=dict)
    exceptions: dict[bytes, str] = attrs.field(factory=dict)
    records: dict[bytes, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, view: View) -> Table:
        """The table that follows a view."""
        return cls(
            view.revision,
            view.routing,
            {number: known.value.owner for number, known in view.parts.items()},
            {
                bytes.fromhex(one): name.split("/")[1]
                for name, page in view.exceptions.items()
                for one in page.value.identifiers
            },
            {
                first.first[:5]: name
                for name, record in view.records.items()
                for first in record.value.ids
                if isinstance(first, IdRange)
            },
        )

    def route(self, one: bytes) -> str | None:
        """The server that an identifier belongs to."""
        part = part_of(one)
        if part is None:
            return self.records.get(one[:5])
        return self.exceptions.get(one) or self.owners.get(part)


class Balancer(Process):
    """One incarnation of a balancer."""

    def __init__(self, world: World, name: str, saved: Table) -> None:
        super().__init__(world, name)
        self.table = saved
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
        return self.table.revision >= self.presence.revision

    def work(self, changed: bool) -> None:
        if changed and not self.world.chance(0.2):
            self.table = Table.of(self.view)
        self.presence.keep(BalancerPresence(self.incarnation, epoch=self.epoch()))
        self.manages.keep(self.me)
        if self.view.single(keys.MANAGER) != self.me:
            self.absences = Absences()
        elif changed or self.world.now >= self._managed + 2:
            self._managed = self.world.now
            self._manage()
        if self.table.revision != self.view.revision and not self.world.chance(0.5):
            self.table = Table.of(self.view)

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
