"""What is common to processes: a view that lags, requests one after the other, leases, faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.view import Known, View
from homing.shared.registry.interface import Batch, Item, LeaseLost, Transaction
from tests.farm.simulation.world import LAG, Request, World


class CachingView(View):
    """A view that decodes what another of the run has decoded no second time."""

    def __init__(self, world: World) -> None:
        super().__init__(world.fail)
        self._known = world.decoded

    def _decoded(self, key: str, item: Item) -> Known[Any] | None:
        known = self._known.get((key, item.revision))
        if known is None:
            known = self._known[key, item.revision] = super()._decoded(key, item)
        return known


class Lease:
    """A lease, and a key tied to it, of one process."""

    def __init__(self, process: Process, key: str, seconds: float) -> None:
        self.process, self.key, self.seconds = process, key, seconds
        self.lease = 0
        self.ends = 0.0
        """Until when it is held, as the process knows."""
        self.revision = 0
        """That of the key when the process took it."""
        self._renewed = 0.0
        self._value: object = None

    @property
    def held(self) -> bool:
        """Whether the process may rely on it; looked at whenever that matters."""
        return self.process.world.now < self.ends

    def keep(self, value: object, over: Iterable[bytes] = ()) -> None:
        """Renew it in time, put what has changed, and take it where nobody has it.

        `over`: values, of processes that have surely ended, that it takes over.
        """
        world = self.process.world
        if not self.process.reachable:
            return
        item = world.item(self.key)
        if item is None or item.lease != self.lease:
            if item is not None and item.value not in over:
                return
            self.lease = world.registry.grant(self.seconds)
            expected = {self.key: item.revision if item else 0}
            puts = {self.key: encode(value)}
            revision = world.registry.commit(Transaction(expected, puts, lease=self.lease))
            assert revision is not None
            self._value = value
            world.note(f"{self.process.name} takes {self.key} at {revision}")
            self.taken(revision)
            return
        if value != self._value:
            self._value = value
            world.put(self.key, value, self.lease)
        if world.now - self._renewed >= self.seconds / 3:
            try:
                world.registry.renew(self.lease)
            except LeaseLost:
                return
            if not world.chance(0.05):  # else the answer was lost
                self._renewed = world.now
                self.ends = world.now + self.seconds

    def taken(self, revision: int) -> None:
        """The key is ours from now on."""
        self.revision = revision
        self._renewed = self.process.world.now
        self.ends = self._renewed + self.seconds

    def give_back(self) -> None:
        """End it."""
        self.process.world.registry.revoke(self.lease)
        self.ends = 0.0


class Process:
    """A process of the farm; `work` is what it does."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.incarnation = world.random.randbytes(4).hex()
        self.view = CachingView(world)
        self.changed: set[str] = set()
        """The keys that have changed since somebody emptied this."""
        self.unreachable_until = 0.0
        """From when on it reaches the registry."""
        self.paused_until = 0.0
        self.outbox: deque[Transaction] = deque()
        self._inbox: deque[tuple[float, Batch]] = deque()
        self._seen = 0
        self._request: Request | None = None

    @property
    def reachable(self) -> bool:
        """Whether it reaches the registry."""
        return self.world.now >= self.unreachable_until

    @property
    def runs(self) -> bool:
        """Whether it is not paused."""
        return self.world.now >= self.paused_until

    @property
    def idle(self) -> bool:
        """Whether it waits for no answer, and has nothing to send."""
        return self._request is None and not self.outbox

    def step(self) -> None:
        """Go on a bit."""
        if not self.runs:
            return
        if self.world.chance(0.3):  # what was computed before a pause is sent after it
            self._talk()
        changed = self._hear()
        self.work(changed)
        self._talk()

    def work(self, changed: bool) -> None:
        """Do what is due; `changed` says whether there was news."""
        raise NotImplementedError

    def _hear(self) -> bool:
        world = self.world
        if self.reachable and not world.chance(0.3):
            batch = world.registry.changes(self._seen)
            if batch is not None:
                self._seen = batch.revision
                due = max([world.now + world.delay(LAG), *(at for at, _ in self._inbox)])
                self._inbox.append((due, batch))
        changed = False
        while self._inbox and self._inbox[0][0] <= world.now:
            self.changed |= self.view.apply(self._inbox.popleft()[1])
            changed = True
            if world.chance(0.3):  # others act in between
                break
        return changed

    def _talk(self) -> None:
        while True:
            if self._request is not None:
                answered = self._request.answered
                if answered is not None and answered <= self.world.now:
                    if not self._request.happened:
                        self.outbox.clear()
                elif self.world.timed_out(self._request):
                    self.outbox.clear()
                else:
                    return
                self._request = None
            if not self.outbox or self.world.chance(0.1):
                return
            self._request = self.world.send(self.outbox.popleft(), self.reachable)
