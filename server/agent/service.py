"""The agent as a service: keeps a server's presence and assignment, and does its duties."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from homing.server.agent.drawing import Drawing
from homing.server.agent.duties import Duties, draws_without_parts, duties
from homing.shared.boottime import boottime
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import decode, encode
from homing.shared.farm_state.values import (
    Assignment,
    Call,
    Live,
    Needs,
    ServerFacts,
    ServerPresence,
    ServerState,
)
from homing.shared.farm_state.view import View
from homing.shared.part import Part
from homing.shared.registry.in_turn import InTurn
from homing.shared.registry.interface import Batch, Follow, Item, Registry, Transaction
from homing.shared.registry.keeper import Keeper

PRESENCE = 6.0
"""Seconds after which a server that is gone is known to be."""
ASSIGNMENT = 300.0
"""Seconds for which a server draws that cannot reach the registry."""
MARGIN = 0.05
"""The part of them that is given up, so that a clock that runs slow does no harm."""
EVERY = 1.0
"""Seconds between two looks at what time alone has made due."""
COUNTED_EVERY = 5.0
"""Seconds between two reports of how many sessions live."""


class Drawer(Protocol):
    """What draws identifiers: a TLS server's issuer."""

    until: float

    @property
    def sessions(self) -> int: ...

    @property
    def nearly_used_up(self) -> bool: ...

    def use(self, parts: Mapping[int, Part], until: float) -> None: ...

    def live(self, part: int) -> Live: ...

    def listing(self, part: int) -> tuple[bytes, ...] | None: ...

    def note_unknown(self, part: int) -> None: ...


@attrs.frozen(kw_only=True)
class Identity:
    """Who a server is, as its process knows."""

    name: str
    incarnation: str
    home: str
    """Its machine and state folder: a lock there keeps its name from being taken twice."""
    facts: ServerFacts
    needs: Needs
    fingerprint: str = ""
    shares_sessions: bool = False
    """Whether what it gave out before a restart may live, in its group."""


class Agent(Service):
    """The agent of one server, which draws by `issuer`.

    `leave` is told of parts that leave, with the seconds that are left.  `changed` is called with
    the view after every change.
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
        leave: Callable[[Mapping[int, tuple[Part, float]]], None],
        changed: Callable[[View], None] = lambda view: None,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._me = me
        self._drawing = drawing
        self._issuer = issuer
        self._leave = leave
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
        self._work = InTurn(registry, clock, self._due)
        self._tick = LoopingCall(self._look)
        self._tick.clock = clock
        self._follow: Follow | None = None
        self._whole = False
        """Whether it draws without parts."""
        self._whole_parts: tuple[int, Mapping[int, Part]] = (0, {})
        """What it draws from then, and the revision that says so."""
        self._used: Mapping[int, Part] = {}
        self._left: Mapping[int, float] = {}
        self._sessions = self._epoch = 0
        """As told last."""
        self._counted = -inf
        self._why_not = ""
        self._ready: list[Deferred[None]] = []

    def startService(self) -> None:
        super().startService()
        self._issuer.use({}, 0.0)
        self._follow = self._registry.follow(self._receive)
        self._tick.start(EVERY)

    def when_ready(self) -> Deferred[None]:
        """Fires once identifiers can be drawn, or it is known that none are to be."""
        ready: Deferred[None] = Deferred()
        self._ready.append(ready)
        self._tell_if_ready()
        return ready

    def _receive(self, batch: Batch) -> None:
        was_empty = self._view.revision == 0
        self._view.apply(batch)
        if was_empty and self._me.shares_sessions:
            for number in self._view.owned.get(self._me.name, ()):
                if self._view.parts[number].value.drawn:
                    self._issuer.note_unknown(number)
        self._presence.receive(batch)
        self._assignment.receive(batch)
        self._changed(self._view)
        self._look()

    def _look(self) -> None:
        """Draw from what is due, tell who we are, and commit what has to be said."""
        if not self.running:
            return
        if self._view.revision:
            self._draw(self._duties())
        self._tell()
        if self._view.revision:
            self._work.look(self._view.revision)
            self._tell_if_ready()

    def _may_draw(self) -> bool:
        return self._assignment.is_held and self._presence_is_ours()

    def _presence_is_ours(self) -> bool:
        """Whether nobody else has our name, as far as is known."""
        there = self._view.servers.get(self._me.name)
        return there is None or there.value.incarnation == self._me.incarnation

    def _duties(self) -> Duties:
        farm = self._view.farm
        if farm is None or self._drawing.scheme.cut is None or self._me.facts.ids is not None:
            return Duties({}, (), {})
        lasts = self._drawing.lasts(self._view, farm)
        return duties(self._view, self._me.name, self._issuer, self._unix(), parts_last=lasts)

    def _draw(self, due: Duties) -> None:
        """Draw from that, and from nothing else."""
        view, farm = self._view, self._view.farm
        parts: dict[int, Part] = {}
        if farm is not None:
            parts = self._drawing.parts(view, farm, due.drawing)
            self._whole = draws_without_parts(view, self._me.name, self._whole)
            if self._whole:
                parts |= self._without_parts()
        until = self._assignment.held_until - MARGIN * ASSIGNMENT if self._may_draw() else 0.0
        if parts != self._used:
            self._issuer.use(parts, until)
            self._used, self._epoch = parts, view.routing
        elif self._issuer.until != until:
            self._issuer.until = until
        if farm is not None and due.leaving != self._left:
            self._left = due.leaving
            now = self._unix()
            self._leave(
                {
                    number: (self._drawing.part(view, farm, number), max(0.0, at - now))
                    for number, at in due.leaving.items()
                }
            )

    def _without_parts(self) -> Mapping[int, Part]:
        """What is drawn from where there are no parts, made anew only when that changes."""
        revision = max(map(self._view.revision_of, (keys.NAMES, keys.record(self._me.name))))
        if self._whole_parts[0] != revision:
            try:
                self._whole_parts = revision, self._drawing.whole(self._view)
            except HomingError as error:
                self._complain(str(error))
        return self._whole_parts[1]

    def look_again(self) -> None:
        """The keys of the scheme's function have changed."""
        self._whole_parts = 0, self._whole_parts[1]
        self._look()

    def _due(self) -> Iterator[Transaction]:
        """What is due now; what is drawn from has been changed before."""
        if not self._may_draw():
            return iter(())
        due = self._duties()
        self._draw(due)
        return iter(due.transactions)

    def _tell(self) -> None:
        """Put what the farm is to know of us."""
        name, view, now = self._me.name, self._view, self._clock.seconds()
        if now - self._counted >= COUNTED_EVERY:
            self._sessions, self._epoch, self._counted = self._issuer.sessions, view.routing, now
        call: Call | None = view.single(keys.CALL)
        under_way = [
            number
            for number in sorted(view.owned.get(name, ()))
            if view.parts[number].value.next is not None and view.parts[number].value.drawn
        ]
        presence = ServerPresence(
            self._me.facts,
            self._me.incarnation,
            epoch=self._epoch,
            needs=attrs.evolve(self._me.needs, more=self._issuer.nearly_used_up),
            sessions=self._sessions,
            live=tuple(map(self._rounded, under_way)),
            answers=0 if call is None else call.number,
            fingerprint=self._me.fingerprint,
        )
        self._presence.put(encode(presence))
        ends = datetime.fromtimestamp(self._unix() + ASSIGNMENT, UTC)
        until = ends.replace(second=0, microsecond=0).isoformat().replace("+00:00", "Z")
        self._assignment.put(encode(Assignment(self._me.incarnation, self._me.home, until)))

    def _rounded(self, number: int) -> Live:
        """What lives in a part, told no more often than people want to know."""
        live = self._issuer.live(number)
        return attrs.evolve(live, seconds=float(-(-live.seconds // COUNTED_EVERY) * COUNTED_EVERY))

    def _is_of_an_earlier_run(self, item: Item) -> bool:
        """Whether an item under our name is of a process here that must have ended."""
        there = self._view.assignments.get(self._me.name)
        return there is not None and there.value.home == self._me.home

    def _taken(self, item: Item) -> None:
        try:
            other = decode(ServerPresence, item.value).facts.address
        except ValueError:
            other = "an unknown address"
        self._log.error(
            "another server is there under the name {name}, at {other}: this one gives out "
            "nothing that can be resumed until that one is gone",
            name=self._me.name,
            other=other,
        )

    def _tell_if_ready(self) -> None:
        """Identifiers can be drawn, or none are to be."""
        wish = self._view.wishes.get(self._me.name)
        refusal = self._view.refusals.get(self._me.name)
        leaves = wish is not None and wish.value.state is not ServerState.ACTIVE
        if refusal is not None:
            self._complain(refusal.value.why)
        if (self._used and self._may_draw()) or leaves or refusal is not None:
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
        self._issuer.use({}, 0.0)  # whatever it gave out ends with this process
        ending = [Deferred.fromCoroutine(one.end()) for one in (self._presence, self._assignment)]
        return gatherResults(ending).addCallback(lambda _: None)
