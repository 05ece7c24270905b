"""The manager as a service: of all balancers, the one that holds the lease manages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from homing.balancer.management.absences import Absences
from homing.balancer.management.manager import manage
from homing.shared.boottime import boottime
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import ManagerPresence
from homing.shared.farm_state.view import View
from homing.shared.registry.in_turn import InTurn
from homing.shared.registry.interface import Batch, Item, Registry, Transaction
from homing.shared.registry.keeper import Keeper
from homing.shared.schemes import SCHEMES

LEASE = 6.0
"""Seconds after which another balancer manages, when this one is gone."""
EVERY = 1.0
"""Seconds between two looks at what time alone has made due."""
_ASSIGNMENTS = keys.assignment("")


class Manager(Service):
    """Manages the farm that `view` shows, which its owner keeps up to date, unless it `is_old`."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        registry: Registry,
        view: View,
        me: ManagerPresence,
        *,
        is_old: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._view = view
        self._me = me
        self._is_old = is_old
        self._absences = Absences()
        self._complaint = ""
        self._was = False
        self._keeper = Keeper(
            registry, clock, keys.MANAGER, LEASE, now=boottime, replaces=self._was_me
        )
        self._work = InTurn(registry, clock, self._due)
        self._tick = LoopingCall(self._look)
        self._tick.clock = clock

    def startService(self) -> None:
        super().startService()
        self._keeper.put(encode(self._me))
        self._tick.start(EVERY, now=False)

    def receive(self, batch: Batch) -> None:
        """The view has taken this batch over."""
        self._keeper.receive(batch)
        if batch.is_whole:  # whatever came and went meanwhile
            self._absences = Absences()
        changed = (*batch.puts, *batch.deletes)
        self._absences.changed(keys.name(key) for key in changed if key.startswith(_ASSIGNMENTS))
        self._look()

    def _was_me(self, item: Item) -> bool:
        """Whether an item is of an earlier run of this balancer, which has ended."""
        try:
            other = decode(ManagerPresence, item.value)
        except ValueError:
            return False
        return (other.name, other.home) == (self._me.name, self._me.home)

    def _look(self) -> None:
        if self.running and self._manages():
            self._work.look(self._view.revision)

    def _manages(self) -> bool:
        manages = self._keeper.is_held and self._view.single(keys.MANAGER) == self._me
        if manages and self._is_old():
            return False
        if manages != self._was:
            self._was = manages
            self._absences = Absences()
            words = "manages the farm" if manages else "does not manage the farm any more"
            self._log.info("{name} {words}", name=self._me.name, words=words)
        return manages

    def _due(self) -> Iterator[Transaction]:
        view, farm = self._view, self._view.farm
        scheme = None if farm is None else SCHEMES.get(farm.scheme)
        if farm is None or scheme is None:
            return iter(())
        holders = {keys.part_of_page(f"exceptions/{page}")[1] for page in view.exceptions}
        owners = {name for name, parts in view.owned.items() if parts}
        now = self._clock.seconds()
        self._absences.look(owners | holders | view.wishes.keys(), view.assignments, now)
        over = self._absences.over(farm.lifetime, now)
        return manage(view, self._me, scheme, over, self._report)

    def _report(self, words: str) -> None:
        if words != self._complaint:
            self._complaint = words
            self._log.error("{words}", words=words)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._tick.running:
            self._tick.stop()
        self._work.stop()
        return Deferred.fromCoroutine(self._keeper.end())
