"""Watches the registry, so that it can be said why a session was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import attrs

from homing.shared.candidates import Candidate
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import PartValue
from homing.shared.farm_state.view import View
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import Batch
from homing.shared.schemes import SCHEMES

_REMEMBERED = 12


@attrs.frozen
class _Was:
    """What a part was from a time on."""

    at: float
    revision: int
    part: PartValue | None


class Watching:
    """Follows the registry; `now` gives seconds, `unix` those since 1970."""

    def __init__(self, now: Callable[[], float], unix: Callable[[], float]) -> None:
        self._now = now
        self._unix = unix
        self._began = now()
        self._parts: dict[int, deque[_Was]] = {}
        self._called: dict[tuple[int, str], float] = {}
        """By part and owner: when it has left by a scheduled move, in Unix time."""
        self.view = View(print)

    def begin(self) -> None:
        """Count seconds from now on."""
        self._began = self._now()

    def since(self, time: float) -> float:
        """Seconds from the beginning to a time by the clock."""
        return time - self._began

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.since(self._now())

    def receive(self, batch: Batch) -> None:
        """Something has changed."""
        for key in self.view.apply(batch):
            folder, _, name = key.partition("/")
            if folder == "parts":
                self._note(int(name))

    def _note(self, number: int) -> None:
        known = self.view.parts.get(number)
        part = None if known is None else known.value
        past = self._parts.setdefault(number, deque(maxlen=_REMEMBERED))
        past.append(_Was(self.seconds, self.view.revision, part))
        if part is None or part.step is not PartStep.LEAVING:
            return
        if part.how is Way.SCHEDULED and part.at is not None:
            self._called[number, part.owner] = part.at
        else:
            self._called.pop((number, part.owner), None)

    def _number(self, brought: Sequence[Candidate]) -> int | None:
        """The part that a client's identifier is of."""
        farm = self.view.farm
        if farm is None:
            return None
        locate = SCHEMES[farm.scheme].locate
        found = map(locate(farm.division), (one.identifier for one in brought)) if locate else ()
        return next((one for one in found if one is not None), None)

    def leaves(self, brought: Sequence[Candidate], server: str) -> float | None:
        """When the part of what a client brought leaves that server, or left it, by a scheduled
        move, by the clock `now`; None: it does not, nor did."""
        number = self._number(brought)
        at = None if number is None else self._called.get((number, server))
        return None if at is None else at - self._unix() + self._now()

    def known_of(self, brought: Sequence[Candidate]) -> Iterator[str]:
        """All that the registry says of what a client brought."""
        view, number = self.view, self._number(brought)
        yield (
            f"at {self.seconds:.2f} s, revision {view.revision}, routing {view.routing}; tables "
            + (", ".join(f"{name} {known.value.epoch}" for name, known in view.balancers.items()))
        )
        for name, known in view.servers.items():
            yield f"{name}: record of {known.value.epoch}, incarnation {known.value.incarnation}"
        if number is None:
            yield "it is of no part"
            return
        for was in self._parts.get(number, ()):
            yield f"part {number} at {was.at:.2f} s, revision {was.revision}: {was.part}"
        for page, listed in view.exceptions.items():
            if keys.part_of_page(f"exceptions/{page}")[0] == number:
                names = [one for one in listed.value.identifiers if _is_of(one, brought)]
                yield f"exceptions {page}: {len(listed.value.identifiers)}, this one: {names}"


def _is_of(identifier: str, brought: Sequence[Candidate]) -> bool:
    return any(one.identifier.hex().startswith(identifier[:32]) for one in brought)
