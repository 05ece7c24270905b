"""The agent as a service: keeps a server's presence and assignment, and does its duties."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from homing.server.agent.applying import Applying, Drawer, Leave
from homing.server.agent.drawing import Drawing
from homing.server.agent.duties import Duties, drawn_before, draws_without_parts, duties
from homing.server.agent.given_up import GivenUp
from homing.server.agent.telling import STEP, Identity, assignment, presence
from homing.shared.boottime import boottime
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import ServerPresence, ServerState
from homing.shared.farm_state.view import View
from homing.shared.registry.in_turn import InTurn
from homing.shared.registry.interface import Batch, Follow, Item, Registry, Transaction
from homing.shared.registry.keeper import Keeper

PRESENCE = 6.0
"""Seconds after which a server that is gone is known to be."""
ASSIGNMENT = 300.0
"""Seconds for which a server draws that cannot reach the registry."""
MARGIN = 15.0
"""Seconds of them that are given up, so that a clock that runs slow does no harm."""
EVERY = 1.0
"""Seconds between two looks at what time alone has made due."""


class Agent(Service):
    """The agent of the server `me`, which draws by `issuer`.

    `leave` is told of parts that leave.  `changed` is called with the view after every change.
    It closes the registry at its end.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        registry: Registry,
        me: Identity,
        drawing: Drawing,
        issuer: Drawer,
        *,
        leave: Leave,
        changed: Callable[[View], None] = lambda view: None,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._me = me
        self._drawing = drawing
        self._issuer = issuer
        self._changed = changed
        self._unix = unix
        self._view = View(lambda line: self._log.warn("{line}", line=line))
        self._presence = Keeper(
            registry,
            clock,
            keys.server(me.name),
            PRESENCE,
            now=boottime,
            taken=self._taken,
            replaces=self._is_of_an_earlier_run,
        )
        self._assignment = Keeper(
            registry,
            clock,
            keys.assignment(me.name),
            ASSIGNMENT,
            now=boottime,
            replaces=self._is_of_an_earlier_run,
        )
        self._applying = Applying(drawing, issuer, leave, unix, self._complain)
        self._given_up = GivenUp()
        self._without_parts = False
        self._lease = 0
        self._work = InTurn(registry, clock, self._due)
        self._tick = LoopingCall(self._look)
        self._tick.clock = clock
        self._follow: Follow | None = None
        self._told = (0, 0, -inf)
        """The sessions that live and the epoch, as told last, and when."""
        self._why_not = ""
        self._defect = ""
        self._ready: list[Deferred[None]] = []

    def startService(self) -> None:
        super().startService()
        self._applying.stop()
        self._follow = self._registry.follow(self._receive)
        self._tick.start(EVERY)

    def when_ready(self) -> Deferred[None]:
        """Fires once identifiers can be drawn, or it is known that none are to be."""
        ready: Deferred[None] = Deferred()
        self._ready.append(ready)
        self._tell_if_ready()
        return ready

    def look_again(self) -> None:
        """The keys of the scheme's function have changed."""
        self._applying.look_again()
        self._look()

    def _receive(self, batch: Batch) -> None:
        is_first = self._view.revision == 0
        self._view.apply(batch)
        if is_first and self._me.shares_sessions:
            for number in drawn_before(self._view, self._me.name):
                self._issuer.note_unknown(number)
        self._presence.receive(batch)
        self._assignment.receive(batch)
        self._changed(self._view)
        self._look()

    def _look(self) -> None:
        """After a defect, what is drawn from ends with the assignment, unless the next look can."""
        if not self.running:
            return
        try:
            self._work_on()
        except Exception as error:
            if repr(error) != self._defect:
                self._defect = repr(error)
                self._log.failure("a defect in what a server has to do")

    def _work_on(self) -> None:
        """Draw from what is due, tell who we are, and have committed what has to be said."""
        if not self._assignment.is_held or self._assignment.lease != self._lease:
            self._begin_anew()
        if self._is_known():
            self._draw()
            self._work.look(self._view.revision)
        elif self._assignment.is_held:
            self._applying.last(self._until())
        self._tell()
        self._tell_if_ready()

    def _begin_anew(self) -> None:
        """What was drawn from, and said, under an assignment ends with it."""
        self._lease = self._assignment.lease
        self._applying.stop()
        self._given_up = GivenUp()
        self._without_parts = False

    def _is_known(self) -> bool:
        """Whether the view has our assignment as it is, and so all that was before it."""
        known = self._view.revision_of(keys.assignment(self._me.name))
        return self._assignment.is_held and known == self._assignment.revision

    def _until(self) -> float:
        return self._assignment.held_until - MARGIN

    def _draw(self) -> Duties:
        """Draw from what our duties allow, and from nothing else."""
        view, name, due = self._view, self._me.name, Duties({}, (), {})
        farm, has_own = view.farm, self._me.facts.ids is not None
        if farm is not None and farm.scheme != self._drawing.scheme.name and not has_own:
            self._complain(
                f'the farm assigns identifiers by the scheme "{farm.scheme}", and this server '
                f'draws by "{self._drawing.scheme.name}"'
            )
            self._applying.stop()
            return due
        if farm is not None and self._drawing.scheme.cut and not has_own:
            size = self._drawing.size(view, farm, self._issuer.nearly_used_up)
            due = duties(view, name, self._issuer, self._unix(), self._given_up, size=size)
        self._without_parts = draws_without_parts(view, name, self._without_parts)
        self._applying.follow(view, due, self._without_parts, self._until())
        return due

    def _due(self) -> Iterator[Transaction]:
        """What is due now; what is drawn from has been changed before."""
        return iter(self._draw().transactions if self._is_known() else ())

    def _tell(self) -> None:
        now = self._clock.seconds()
        sessions, epoch, told = self._told
        follows = self._applying.epoch
        if now - told >= STEP or (epoch < self._changed_at() <= follows):
            self._told = sessions, epoch, _ = self._issuer.sessions, follows, now
        fingerprint = self._applying.fingerprint
        ours = presence(self._view, self._me, self._issuer, sessions, epoch, fingerprint)
        self._presence.put(encode(ours))
        self._assignment.put(encode(assignment(self._me, self._unix(), ASSIGNMENT)))

    def _changed_at(self) -> int:
        """The revision of the last change of what we own."""
        own = self._view.owned.get(self._me.name, ())
        return max((self._view.parts[number].revision for number in own), default=0)

    def _is_of_an_earlier_run(self, item: Item) -> bool:
        """Whether an item under our name is of a process here that must have ended."""
        there = self._view.assignments.get(self._me.name)
        return there is not None and there.value.home == self._me.home

    def _taken(self, item: Item) -> None:
        try:
            other = decode(ServerPresence, item.value).facts.address
        except ValueError:
            other = "an unknown address"
        self._complain(f"another server is there under the name {self._me.name}, at {other}")

    def _tell_if_ready(self) -> None:
        wish = self._view.wishes.get(self._me.name)
        refusal = self._view.refusals.get(self._me.name)
        leaves = wish is not None and wish.value.state is not ServerState.ACTIVE
        if refusal is not None:
            self._complain(refusal.value.why)
        if self._applying.draws or leaves or refusal is not None:
            ready, self._ready = self._ready, []
            for one in ready:
                one.callback(None)

    def _complain(self, why: str) -> None:
        if why != self._why_not:
            self._why_not = why
            self._log.error("nothing can be given out that could be resumed: {why}", why=why)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._tick.running:
            self._tick.stop()
        if self._follow is not None:
            self._follow.stop()
        self._work.stop()
        self._applying.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        leases = (self._presence, self._assignment)
        await gatherResults([Deferred.fromCoroutine(one.end()) for one in leases])
        await self._registry.close()
