"""A server's process: its agent, and the sessions that live at it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from homing.server.agent.duties import Duties, PartSize, draws_without_parts, duties
from homing.server.agent.given_up import GivenUp
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    Assignment,
    Live,
    Needs,
    ServerFacts,
    ServerPresence,
)
from homing.shared.id_sets import IdRange
from homing.shared.moves import PartStep, Way
from tests.farm.simulation.process import Lease, Process
from tests.farm.simulation.world import (
    ASSIGNMENT,
    LIFETIME,
    LIST_SIZE,
    PRESENCE,
    World,
    identifier,
    part_of,
)

MOST_LISTED = 5


class Server(Process):
    """One incarnation of a server."""

    def __init__(
        self, world: World, name: str, facts: ServerFacts, ended: Iterable[bytes] = ()
    ) -> None:
        super().__init__(world, name)
        self.facts = facts
        self.ended = tuple(ended)
        """The assignments of its incarnations before, which have surely ended."""
        self.value = Assignment(self.incarnation, "here")
        self.assignment = Lease(self, keys.assignment(name), ASSIGNMENT)
        self.presence = Lease(self, keys.server(name), PRESENCE)
        self.sessions: dict[bytes, float] = {}
        """By identifier, when it expires."""
        self.drawing: dict[int, frozenset[bytes]] = {}
        self.draws_own = False
        self.given_up = GivenUp()
        self.epoch = 0
        """What its drawing follows."""
        self._looked = -100.0

    # What lives

    def live(self, part: int) -> Live:
        ends = [
            end for one, end in self.sessions.items() if part_of(self.world.scheme, one) == part
        ]
        return Live(part, len(ends), max(ends, default=self.world.now) - self.world.now)

    def listing(self, part: int) -> tuple[bytes, ...] | None:
        found = tuple(one for one in self.sessions if part_of(self.world.scheme, one) == part)
        return found if len(found) <= MOST_LISTED else None

    def _expire(self) -> bool:
        now = self.world.now
        ended = [one for one, end in self.sessions.items() if end <= now]
        for one in ended:
            del self.sessions[one]
        return bool(ended)

    # What it gives out

    def may_draw(self) -> bool:
        """Whether its assignment lasts, by its own clock."""
        return self.assignment.held

    def visit(self) -> None:
        """A client comes without a session, and gets one if there is an identifier."""
        if not self.runs or not self.may_draw():
            return
        drawn = self._draw()
        if drawn is None:
            return
        holder = self.world.holders.get(drawn)
        if isinstance(holder, Server) and holder is not self and holder.lives(drawn):
            self.world.fail(f"{self.name} draws {drawn.hex()}, which lives at {holder.name}")
        self.world.holders[drawn] = self
        self.sessions[drawn] = self.world.now + LIFETIME
        self.world.note(f"{self.name} draws {drawn.hex()}")

    def lives(self, one: bytes) -> bool:
        """Whether a session with that identifier lives here."""
        return self.sessions.get(one, 0.0) > self.world.now

    def _draw(self) -> bytes | None:
        random = self.world.random
        if self.draws_own and self.facts.ids is not None:
            own = self.facts.ids[0]
            assert isinstance(own, IdRange)
            return own.nth(random.randrange(1 << 16))
        if not self.drawing:
            return None
        part = random.choice(sorted(self.drawing))
        size = LIST_SIZE if self.world.has_few else 1 << 16
        known = self.view.parts.get(part)
        if known is not None and known.value.max_ids is not None:
            size = min(size, known.value.max_ids)
        drawn = identifier(self.world.scheme, part, random.randrange(size))
        return None if drawn in self.drawing[part] or drawn in self.sessions else drawn

    # What its agent does

    def work(self, changed: bool) -> None:
        changed = self._expire() or changed
        lease = self.assignment.lease
        self.assignment.keep(self.value, over=self.ended)
        if self.assignment.lease != lease:
            self.drawing = {}
            self.draws_own = False
            self.given_up = GivenUp()
        if self.knows_its_assignment() and (changed or self.world.now >= self._looked + 2):
            self._looked = self.world.now
            self._do_duties()
        self.presence.keep(self._presence())

    def knows_its_assignment(self) -> bool:
        """Whether its view is not older than its assignment."""
        known = self.view.revision_of(self.assignment.key)
        return self.assignment.held and known == self.assignment.revision

    def _do_duties(self) -> None:
        unix = self.world.unix
        due = duties(
            self.view,
            self.name,
            self,
            unix,
            self.given_up,
            size=PartSize.LASTS if not self.world.has_few else PartSize.USED_UP,
        )
        self.take(due)
        self.draws_own = draws_without_parts(self.view, self.name, self.draws_own)
        self.epoch = self.view.routing
        self._cut(unix)

    def take(self, due: Duties) -> None:
        """Draw from what may be drawn from, and only then say so."""
        self.drawing = dict(due.drawing)
        if self.idle:
            self.outbox.extend(due.transactions)

    def _cut(self, unix: float) -> None:
        """Forget sessions whose scheduled time has come."""
        for number in self.view.owned.get(self.name, ()):
            part = self.view.parts[number].value
            if (
                part.how is Way.SCHEDULED
                and part.step is PartStep.STOPPED
                and part.at is not None
                and unix >= part.at
            ):
                for one in [
                    one for one in self.sessions if part_of(self.world.scheme, one) == number
                ]:
                    del self.sessions[one]

    def _presence(self) -> ServerPresence:
        used = self.world.has_few and 4 * len(self.sessions) >= 3 * LIST_SIZE * max(
            1, len(self.view.owned.get(self.name, ()))
        )
        needs = Needs(more=bool(used))
        sessions = min(1, len(self.sessions))
        return ServerPresence(self.facts, self.incarnation, self.epoch, needs, sessions)


FACTS = ServerFacts("unix:s.sock")


def with_ids(first: bytes, last: bytes) -> ServerFacts:
    """The facts of a server with a record of its own."""
    ids = IdRange(first.ljust(32, b"\0"), last.ljust(32, b"\xff"))
    return attrs.evolve(FACTS, ids=(ids,))
