"""What a server may draw from, and what it has to tell, as the farm's state says.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from math import inf

import attrs

from homing.server.agent.given_up import GivenUp
from homing.server.agent.parting import Living, Parting
from homing.shared.farm_state import keys
from homing.shared.farm_state.pages import in_bytes
from homing.shared.farm_state.values import Names, PartValue, ServerState
from homing.shared.farm_state.view import View
from homing.shared.moves import PartStep, Way
from homing.shared.registry.interface import Transaction

_MOST_CHANGES = 60
_SMALL = 16
"""Small parts that are opened at once."""


class PartSize(Enum):
    """How far the parts of a server go."""

    LASTS = auto()
    """One is enough to draw from for ever."""
    SMALL = auto()
    USED_UP = auto()
    """They are small, and of those drawn from nearly everything is given out."""


@attrs.frozen
class Duties:
    """What is due now.  First draw from `drawing` alone, and only then commit the transactions."""

    drawing: Mapping[int, frozenset[bytes]]
    """By the number of a part that may be drawn from: what of it is somebody's exceptions."""
    transactions: tuple[Transaction, ...]
    leaving: Mapping[int, float]
    """The parts whose clients are to get identifiers elsewhere until then, in Unix time; infinity
    where no time was given: the part moves when its last session is over."""


def duties(
    view: View,
    me: str,
    living: Living,
    unix: float,
    given_up: GivenUp,
    *,
    size: PartSize,
) -> Duties:
    """The duties of the server `me`, whose assignment is in force and in the view.

    `size` is that of its parts.  `unix`, in seconds since 1970,
    counts for scheduled moves alone.
    """
    own = {number: view.parts[number].value for number in sorted(view.owned.get(me, ()))}
    drawn = [
        number for number, part in own.items() if part.drawn and not given_up.includes(view, number)
    ]
    held = [number for number, part in own.items() if part.step is PartStep.HELD]
    opened = [number for number in drawn if own[number].step is PartStep.HELD]
    fresh = [number for number in held if not own[number].drawn] if _is_active(view, me) else []
    closing = [number for number, part in own.items() if part.step is PartStep.LEAVING]
    chosen = opened[:1] if size is PartSize.LASTS else opened
    if not chosen and fresh:  # go on until another part is open
        chosen = [number for number in closing if number in drawn]
    stopping = [number for number in closing if number not in chosen]
    unused = [number for number in held if own[number].drawn and number not in chosen]
    given_up.add(view, (*stopping, *unused))
    parting = Parting(view, me, living, unix)
    routed = [number for number in fresh if view.is_routed(view.parts[number].revision)]
    transactions = (
        *_opened(view, me, _to_open(routed, bool(opened), size)),
        *(each for number in stopping for each in parting.stop(number)),
        *parting.over(number for number, part in own.items() if part.step is PartStep.STOPPED),
        *parting.tidy(unused),
        *parting.shorten(),
    )
    return Duties(
        {number: _exceptions(view, number) for number in chosen},
        transactions,
        {number: _until(part) for number, part in own.items() if _is_scheduled(part)},
    )


def _is_scheduled(part: PartValue) -> bool:
    return part.how is Way.SCHEDULED and part.step in (PartStep.LEAVING, PartStep.STOPPED)


def _until(part: PartValue) -> float:
    return inf if part.at is None else part.at


def draws_without_parts(view: View, me: str, before: bool) -> bool:
    """Whether `me` may draw from a record of its own, or by the scheme's function.

    Who has begun goes on: a change of who else is of the farm takes nothing from it.
    """
    named: Names | None = view.single(keys.NAMES)
    if not _is_active(view, me):
        return False
    if me in view.records:
        key = keys.record(me)
    elif named is not None and me in named.names:
        key = keys.NAMES
    else:
        return False
    return before or view.is_routed(view.revision_of(key))


def drawn_before(view: View, me: str) -> frozenset[int]:
    """The parts of which something may live that an earlier run of `me` has given out."""
    own = view.owned.get(me, ())
    drawn = {number for number in own if view.parts[number].value.drawn}
    pages = (keys.part_of_page(f"exceptions/{page}") for page in view.exceptions)
    return frozenset(drawn | {number for number, server in pages if server == me})


def _is_active(view: View, me: str) -> bool:
    """Whether the server is to give out identifiers that it has not begun to give out yet."""
    wish = view.wishes.get(me)
    return wish is not None and wish.value.state is ServerState.ACTIVE


def _to_open(routed: list[int], has_one: bool, size: PartSize) -> list[int]:
    """The parts to draw from for the first time: as few as will do, so that others can move."""
    if has_one and size is not PartSize.USED_UP:
        return []
    return routed[:1] if size is PartSize.LASTS else routed[:_SMALL]


def _opened(view: View, me: str, numbers: list[int]) -> Iterator[Transaction]:
    """Say of parts that they are drawn from, which must be known before they are."""
    for start in range(0, len(numbers), _MOST_CHANGES):
        some = numbers[start : start + _MOST_CHANGES]
        parts = {
            keys.part(number): attrs.evolve(view.parts[number].value, drawn=True) for number in some
        }
        yield view.change(parts, keys.assignment(me))


def _exceptions(view: View, part: int) -> frozenset[bytes]:
    """The identifiers that are not drawn from a part: some balancer may have them elsewhere."""
    return frozenset(
        identifier
        for _, page in view.pages(part)
        for identifier in in_bytes(page.value.identifiers + page.value.ended)
    )
