"""A balancer's configuration module: it follows the registry, and manages if it has the lease."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from homing.balancer.agreement import Agreement
from homing.balancer.follower import Follower
from homing.balancer.management.service import Manager
from homing.balancer.retiring import accept_no_more
from homing.balancer.saved import Saved
from homing.balancer.service import Balancer
from homing.balancer.ways import To
from homing.shared.boottime import boottime
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import BalancerPresence, ManagerPresence
from homing.shared.farm_state.view import View
from homing.shared.registry.in_turn import InTurn
from homing.shared.registry.interface import Batch, Follow, Item, NotYet, Registry, Transaction
from homing.shared.registry.keeper import Keeper

PRESENCE = 6.0
"""Seconds after which moves no longer wait for a balancer that is gone."""
_LOOK = 0.05
"""Seconds between two looks whether the registry fails, before the start."""
PATIENCE = 2.0
"""Seconds that a start waits for the registry, before it goes by what is known without it."""


class Following(MultiService):
    """Runs `balancer` by what the registry says.

    The balancer starts once its table follows the state in which it is there itself: until then
    moves do not wait for it.  If the registry does not answer, it starts by what was saved, or else
    by what `without` gives: the farm as farm.toml has it.  `wishes` are what that file wants: they
    count once, or two balancers whose files differ would contradict each other for ever.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        registry: Registry,
        balancer: Balancer,
        follower: Follower,
        to: To,
        *,
        me: ManagerPresence,
        presence: BalancerPresence,
        saved: Saved,
        without: Callable[[], Batch],
        wishes: Callable[[View], Iterable[Transaction]],
    ) -> None:
        super().__init__()
        self._clock = clock
        self._registry = registry
        self._balancer = balancer
        self._follower = follower
        self._to = to
        self._presence = presence
        self._saved = saved
        self._saved.setServiceParent(self)
        self._without = without
        self._wishes = wishes
        self._view = View(lambda line: self._log.warn("{line}", line=line))
        self._follow: Follow | None = None
        self._waits: IDelayedCall | None = None
        self._patience = 0.0
        self._has_left = False
        self._complaint = ""
        self._agreement = Agreement()
        self._unrouted: set[str] = set()
        self._restores = False
        """Whether the registry gets back what we know."""
        self._asked, self._granted = 1, 0
        """How often farm.toml was read, and up to which time the registry has what it wants."""
        self._name = me.name
        self._keeper = Keeper(
            registry,
            clock,
            keys.balancer(me.name),
            PRESENCE,
            now=boottime,
            taken=self._taken,
            replaces=self._was_me,
        )
        self._manager = Manager(clock, registry, self._view, me, is_old=self._is_old)
        self._manager.setServiceParent(self)
        self._work = InTurn(registry, clock, self._due)

    def startService(self) -> None:
        self._balancer.listen()
        super().startService()
        self._follow = self._registry.follow(self._receive)
        self._patience = self._clock.seconds() + PATIENCE
        self._wait()
        self._keeper.put(encode(self._presence))

    def look_again(self) -> None:
        """farm.toml has changed, or keys of the scheme's function."""
        self._asked += 1
        if self._view.revision:
            self._route({keys.NAMES})
            self._work.look(self._view.revision)

    def _receive(self, batch: Batch) -> None:
        changed = self._view.apply(batch)
        self._keeper.receive(batch)
        if self._is_lost():
            self._lose()
        elif self._restores or any(key.startswith(keys.ROUTING) for key in changed):
            self._route(self._view.keys if self._restores else changed)
            self._restores = False
            self._saved.note(batch)
        self._compare()
        self._tell(0 if self._restores or self._unrouted else self._view.routing)
        self._manager.receive(batch)
        self._work.look(self._view.revision)
        if 0 < self._keeper.revision <= self._view.revision and self._view.farm is not None:
            self._begin()

    def _is_lost(self) -> bool:
        """Whether the registry has begun anew, and knows nothing of what we know."""
        return self._view.farm is None and self._saved.has_farm

    def _lose(self) -> None:
        """Route as before, until the registry has everything again."""
        if not self._restores:
            self._restores = True
            self._log.error("the registry has begun anew: it gets back what this balancer knows")

    def _route(self, changed: Collection[str]) -> None:
        self._unrouted |= set(changed)  # which stay where that fails
        self._balancer.follow(self._follower.follow(self._view, self._unrouted), self._to)
        self._unrouted = set()

    def _compare(self) -> None:
        """Whether servers go by the same function as we, once they follow who is of the farm."""
        self._agreement.records = self._follower.by_function
        if not self._agreement.records:
            return
        named = self._view.revision_of(keys.NAMES)
        for name, server in self._view.servers.items():
            if server.value.fingerprint and server.value.epoch >= named:
                self._agreement.told(name, _bytes(server.value.fingerprint))

    def _tell(self, epoch: int) -> None:
        """Say that our table follows that revision."""
        if epoch != self._presence.epoch:
            self._presence = attrs.evolve(self._presence, epoch=epoch)
            self._keeper.put(encode(self._presence))

    def _begin(self) -> None:
        """Accept connections, unless another process has our place by now."""
        self._wait_no_more()
        if self._balancer.parent is None and not self._has_left:
            self._balancer.setServiceParent(self)

    def _wait(self) -> None:
        """Wait for the registry, unless it is known to fail."""
        self._waits = None
        failure = None if self._follow is None else self._follow.failure
        fails = failure is not None and not isinstance(failure, NotYet)
        if fails or self._clock.seconds() >= self._patience:
            self._go_without()
        else:
            self._waits = self._clock.callLater(_LOOK, self._wait)

    def _wait_no_more(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def _go_without(self) -> None:
        why = None if self._follow is None else self._follow.failure
        self._log.warn(
            "the registry does not answer ({why}): routes by what is known without it",
            why=why or "no reason is known",
        )
        if not self._view.revision:
            view = View()
            changed = view.apply(self._saved.load() or self._without())
            self._balancer.follow(self._follower.follow(view, changed), self._to)
        self._begin()

    def _due(self) -> Iterator[Transaction]:
        if self._is_lost():
            yield from self._saved.lost(self._view)
        elif self._granted < self._asked:
            asked = self._asked
            try:
                wishes = list(self._wishes(self._view))
            except HomingError as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    self._log.error("{error}", error=error)
                return
            yield from wishes
            self._granted = asked  # all were committed, or the turn would have ended before

    def _is_old(self) -> bool:
        """Whether the view may lack what has happened."""
        return self._follow is None or self._follow.failure is not None

    def _was_me(self, item: Item) -> bool:
        """Whether an item is of an earlier run of this balancer, which has ended."""
        try:
            return decode(BalancerPresence, item.value).home == self._presence.home
        except ValueError:
            return False

    def _taken(self, item: Item) -> None:
        self._log.error(
            "another balancer is there under the name {name}: give this one another, by --name",
            name=self._name,
        )

    async def leave(self) -> None:
        """Leave the registry: the balancer accepts no more, and no move waits for it any more.

        One that has not begun yet never does.
        """
        self._has_left = True
        self._wait_no_more()
        await accept_no_more(self._clock, self._balancer)
        if self._follow is not None:
            self._follow.stop()
        self._work.stop()
        for part in (self._manager, self._saved):
            if part.parent is not None:
                await maybeDeferred(part.disownServiceParent)
        await self._keeper.end()

    def stopService(self) -> Deferred[None]:
        self._wait_no_more()
        if self._follow is not None:
            self._follow.stop()
        self._work.stop()
        return Deferred.fromCoroutine(self._finish(super().stopService()))

    async def _finish(self, stopped: Deferred[None]) -> None:
        await self._keeper.end()  # at once: moves need not wait for us while connections end
        await stopped
        await self._registry.close()


def _bytes(fingerprint: str) -> bytes:
    """What a server tells in hex; nonsense agrees with nothing."""
    try:
        return bytes.fromhex(fingerprint)
    except ValueError:
        return fingerprint.encode()
