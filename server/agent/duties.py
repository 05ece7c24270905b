"""What a server may draw from, and what it has to tell, as the farm's state says.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from homing.server.agent.parting import Living, Parting
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import Names, ServerState
from homing.shared.farm_state.view import View
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import Transaction

_MOST_CHANGES = 60


@attrs.frozen
class Duties:
    """What is due now.  First draw from `drawing` alone, and only then commit the transactions."""

    drawing: Mapping[int, frozenset[bytes]]
    """By the number of a part that may be drawn from: what of it is somebody's exceptions."""
    transactions: tuple[Transaction, ...]
    leaving: Mapping[int, float]
    """The parts whose clients are to get identifiers elsewhere until then, in Unix time."""


def duties(view: View, me: str, living: Living, unix: float, *, parts_last: bool) -> Duties:
    """The duties of the server `me`, whose assignment is in force.

    `parts_last` says that one part is enough to draw from for ever.  `unix`, in seconds since 1970,
    counts for scheduled moves alone.
    """
    own = {number: view.parts[number].value for number in sorted(view.owned.get(me, ()))}
    held = [number for number, part in own.items() if part.step is PartStep.HELD]
    opened = [number for number in held if own[number].drawn]
    fresh = [number for number in held if not own[number].drawn] if _is_active(view, me) else []
    closing = [number for number, part in own.items() if part.step is PartStep.LEAVING]
    drawing = opened[:1] if parts_last else opened
    if not drawing and fresh:  # go on until another part is open
        drawing = [number for number in closing if own[number].drawn]
    parting = Parting(view, me, living, unix)
    transactions = (
        *_opened(view, me, _to_open(view, fresh, bool(opened), parts_last)),
        *(each for number in closing if number not in drawing for each in parting.stop(number)),
        *parting.over(number for number, part in own.items() if part.step is PartStep.STOPPED),
        *parting.tidy(number for number in opened if number not in drawing),
        *parting.shorten(),
    )
    leaving = {
        number: part.at
        for number, part in own.items()
        if part.how is Way.SCHEDULED
        and part.step in (PartStep.LEAVING, PartStep.STOPPED)
        and part.at is not None
    }
    return Duties({number: _exceptions(view, number) for number in drawing}, transactions, leaving)


def draws_without_parts(view: View, me: str, before: bool) -> bool:
    """Whether `me` may draw from a record of its own, or by the scheme's function.

    Who has begun goes on: a change of who else is of the farm takes nothing from it.
    """
    named: Names | None = view.single(keys.NAMES)
    if me in view.records:
        key = keys.record(me)
    elif named is not None and me in named.names and _is_active(view, me):
        key = keys.NAMES
    else:
        return False
    return before or _is_routed(view, view.revision_of(key))


def _is_active(view: View, me: str) -> bool:
    """Whether the server is to give out identifiers that it has not begun to give out yet."""
    wish = view.wishes.get(me)
    return wish is not None and wish.value.state is ServerState.ACTIVE


def _is_routed(view: View, revision: int) -> bool:
    """Whether the tables of all balancers that are there follow that revision."""
    return all(balancer.value.epoch >= revision for balancer in view.balancers.values())


def _to_open(view: View, fresh: Iterable[int], has_one: bool, parts_last: bool) -> list[int]:
    """The parts to draw from for the first time: one at a time if that lasts."""
    if parts_last and has_one:
        return []
    routed = [number for number in fresh if _is_routed(view, view.parts[number].revision)]
    return routed[:1] if parts_last else routed


def _opened(view: View, me: str, numbers: list[int]) -> Iterator[Transaction]:
    """Say of parts that they are drawn from, which must be known before they are."""
    for start in range(0, len(numbers), _MOST_CHANGES):
        some = numbers[start : start + _MOST_CHANGES]
        parts = {
            keys.part(number): attrs.evolve(view.parts[number].value, drawn=True) for number in some
        }
        yield view.change(parts, keys.assignment(me))


def _exceptions(view: View, part: int) -> frozenset[bytes]:
    """The identifiers that are not drawn from a part: they are still in use."""
    return frozenset(
        bytes.fromhex(identifier)
        for _, page in view.pages(part)
        for identifier in page.value.identifiers
    )
