"""The manager: what the farm's state needs next (Fig. 3, 302 to 310).  Pure.

It only ever does the next step that the state allows, so that any process can end at any moment,
and whoever manages next goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import chain

import attrs

from homing.balancer.management.allocation import CannotAllocate, Claim, Holding, Shift, shifts
from homing.balancer.management.claims import (
    claims,
    holdings,
    limits,
    part_size,
    spare_numbers,
)
from homing.balancer.management.membership import ITSELF, Changes, membership
from homing.shared.farm_state import keys
from homing.shared.farm_state.pages import shortened
from homing.shared.farm_state.values import (
    SPARE,
    Call,
    FarmValue,
    ManagerPresence,
    PartValue,
)
from homing.shared.farm_state.view import View
from homing.shared.moves import TRANSITIONS, PartEvent, PartStep, Way
from homing.shared.registry.interface import Transaction
from homing.shared.schemes.base import Scheme


def manage(
    view: View,
    me: ManagerPresence,
    scheme: Scheme,
    over: frozenset[str],
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Transaction]:
    """The transactions that are due, in order; none unless `me` holds the manager's lease.

    Each expects that `me` still holds it.  Whoever commits them stops at the first that is lost:
    what it would have done is found again later.  `over` are the servers whose assignment has been
    gone for so long that nothing of them lives.  `report` gets a line for what cannot be granted.
    """
    farm = view.farm
    if farm is None or view.single(keys.MANAGER) != me:
        return
    yield from _of_the_gone(view, over)
    changes = _call(view, me) | membership(view, farm, scheme, over)
    if scheme.cut is not None:
        claimed = claims(view, farm, scheme)
        given = _given(view, claimed)
        parts = given | _assigned(view, farm, claimed, given, report)
        allowed = limits(view, part_size(scheme, farm.division))
        changes |= {keys.part(number): part for number, part in _limited(view, parts, allowed)}
    done = {} if view.single(keys.REASSIGN) is None else {keys.REASSIGN: None}
    yield from chain(
        view.changes_in_turn(changes, keys.MANAGER), view.changes_in_turn(done, keys.MANAGER)
    )


def _call(view: View, me: ManagerPresence) -> Changes:
    """The hello signal of a new manager: who is there answers with its needs (patent, p. 10)."""
    before: Call | None = view.single(keys.CALL)
    if before is not None and before.by == me.incarnation:
        return {}
    return {keys.CALL: Call(1 + (before.number if before else 0), me.incarnation)}


def _of_the_gone(view: View, over: frozenset[str]) -> Iterator[Transaction]:
    """Servers of which nothing lives release what they drew from, and have no exceptions.

    Those that came by themselves are forgotten.
    """
    for name in sorted(over):
        if view.revision_of(keys.assignment(name)):
            continue  # it is back
        changes = _forgotten(view, name) | _ended(view, name) | _released(view, name)
        yield from view.changes_in_turn(changes, keys.MANAGER, keys.assignment(name))


def _forgotten(view: View, name: str) -> Changes:
    wish = view.wishes.get(name)
    if wish is None or wish.value.source != ITSELF or name in view.servers:
        return {}
    changes: Changes = {keys.wish(name): None}
    return changes | ({keys.record(name): None} if name in view.records else {})


def _ended(view: View, name: str) -> Changes:
    """Its exceptions live no more."""
    changes: Changes = {}
    for page, known in view.exceptions.items():
        key = f"exceptions/{page}"
        if keys.part_of_page(key)[1] == name:
            after = shortened(known.value, (), view.is_routed(known.revision))
            if after != known.value:
                changes[key] = after
    return changes


def _released(view: View, name: str) -> Changes:
    """The parts that it drew from are as if it never had, or can be given."""
    changes: Changes = {}
    for number in sorted(view.owned.get(name, ())):
        part = view.parts[number].value
        if part.drawn:
            step = TRANSITIONS[part.how][part.step][PartEvent.GONE]
            after = attrs.evolve(part, step=step, drawn=step is not PartStep.HELD)
            if after != part:
                changes[keys.part(number)] = after
    return changes


def _given(view: View, claimed: Mapping[str, Claim]) -> dict[int, PartValue | None]:
    """The parts whose next owner can have them now; None: they become spare."""
    found: dict[int, PartValue | None] = {}
    for number, known in view.parts.items():
        part = known.value
        if part.next is None or (part.next != SPARE and part.next not in claimed):
            continue
        if TRANSITIONS[part.how][part.step][PartEvent.GIVEN] is not part.step:
            found[number] = PartValue(part.next) if part.next != SPARE else None
    return found


def _assigned(
    view: View,
    farm: FarmValue,
    claimed: Mapping[str, Claim],
    given: Mapping[int, PartValue | None],
    report: Callable[[str], None],
) -> dict[int, PartValue | None]:
    """Assigning (306): the parts that are given, or on their way to others, from now on."""
    asked = view.single(keys.REASSIGN)
    held = holdings(view, claimed, given)
    try:
        found = shifts(
            claimed,
            held,
            spare_numbers(view, farm),
            farm.division.count,
            Fraction(farm.spare).limit_denominator(10_000),
            even=asked is not None,
        )
    except CannotAllocate as error:
        report(str(error))
        found = [Shift(part, None) for part in _left_behind(held, claimed)]
    parts: dict[int, PartValue | None] = {}
    for shift in found:
        known = view.parts.get(shift.part)
        part = None if known is None else known.value
        how = (asked.how if asked else None) or _wished(view, part, shift.to) or farm.moving
        parts[shift.part] = _shifted(part, shift.to, how, asked.at if asked else None)
    return parts


def _left_behind(held: Mapping[str, Holding], claimed: Mapping[str, Claim]) -> Iterator[int]:
    """The parts of those who claim nothing."""
    for name, holding in held.items():
        if name not in claimed:
            yield from holding.movable


def _limited(
    view: View, parts: Mapping[int, PartValue | None], allowed: Mapping[str, int | None]
) -> Iterator[tuple[int, PartValue | None]]:
    """`parts`, and those that stay as they are but for how much of them may be drawn."""
    for number, part in parts.items():
        most = None if part is None else allowed.get(part.owner)
        yield number, None if part is None else attrs.evolve(part, max_ids=most)
    for number, known in view.parts.items():
        most = allowed.get(known.value.owner)
        if known.value.max_ids != most and number not in parts:
            yield number, attrs.evolve(known.value, max_ids=most)


def _wished(view: View, part: PartValue | None, to: str | None) -> Way | None:
    """How people want parts to move from this owner, or to that one."""
    for name in (part.owner if part else None, to):
        wish = view.wishes.get(name) if name else None
        if wish is not None and wish.value.how is not None:
            return wish.value.how
    return None


def _shifted(
    part: PartValue | None, to: str | None, how: Way, at: float | None
) -> PartValue | None:
    """A part that is to go to another owner, or to become spare; None: it has."""
    if part is None or not part.drawn:
        return None if to is None else PartValue(to)
    if part.step is PartStep.HELD:
        return attrs.evolve(
            part,
            step=TRANSITIONS[how][part.step][PartEvent.ASKED],
            next=to or SPARE,
            how=how,
            at=at if how is Way.SCHEDULED else None,
            note="",
        )
    if to == part.owner:
        step = TRANSITIONS[part.how][part.step][PartEvent.CALLED_OFF]
        return attrs.evolve(part, step=step, next=None, at=None, note="")
    return attrs.evolve(part, next=to or SPARE)
