"""Finding servers (302) and what they bring: wishes, records of their own, refusals.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from homing.balancer.management.claims import owes_nothing
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import (
    FarmValue,
    Names,
    Record,
    Refusal,
    ServerPresence,
    ServerState,
    Wish,
)
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdSet, overlaps
from homing.shared.schemes.base import Scheme

ITSELF = "itself"
FARM_TOML = "farm.toml"

Changes = dict[str, object | None]


def membership(view: View, farm: FarmValue, scheme: Scheme, over: Collection[str]) -> Changes:
    """The wishes, records, refusals and names that have to change.

    `over` are servers whose assignment has been gone for so long that nothing of them lives.
    """
    changes: Changes = {}
    for name, known in view.servers.items():
        changes |= _arrival(view, name, known.value)
    for name, wish in view.wishes.items():
        if wish.value.state is ServerState.REMOVED and _can_go(view, name):
            gone = attrs.evolve(wish.value, state=ServerState.GONE)
            changes[keys.wish(name)] = gone if wish.value.source == FARM_TOML else None
    ended = frozenset(name for name in view.wishes if _has_ended(view, name, over))
    changes |= _records(view, farm, scheme, ended)
    if scheme.cut is None:
        changes |= _names(view, ended)
    return changes


def _has_ended(view: View, name: str, over: Collection[str]) -> bool:
    """Whether a server is removed, and nothing lives at it: one that is away may come back."""
    wish = view.wishes[name]
    if wish.value.state is ServerState.GONE:
        return True
    if wish.value.state is not ServerState.REMOVED or not owes_nothing(view, name):
        return False
    presence = view.servers.get(name)
    if presence is None:
        return name in over or not wish.value.facts.managed
    return presence.value.epoch >= wish.revision  # it said so after it had stopped drawing


def _arrival(view: View, name: str, presence: ServerPresence) -> Changes:
    """A server has come: by itself, back elsewhere, or with other needs."""
    known, needs = view.wishes.get(name), presence.needs
    wish = Wish(presence.facts, source=ITSELF) if known is None else known.value
    wish = attrs.evolve(wish, sessions=needs.sessions)
    if wish.source == ITSELF:
        wish = attrs.evolve(wish, facts=presence.facts, share=needs.share, max_ids=needs.max_ids)
    return {} if known is not None and wish == known.value else {keys.wish(name): wish}


def _can_go(view: View, name: str) -> bool:
    """Whether a removed server can be forgotten."""
    return name not in view.servers and name not in view.records and owes_nothing(view, name)


def _records(view: View, farm: FarmValue, scheme: Scheme, ended: Collection[str]) -> Changes:
    """Accept what servers bring, in the order of names; what overlaps is refused."""
    brought = {
        name: known.value.facts.ids
        for name, known in sorted(view.wishes.items())
        if known.value.facts.ids is not None and name not in ended
    }
    changes: Changes = {}
    changes |= {keys.record(name): None for name in view.records if name not in brought} | {
        keys.refusal(name): None for name in view.refusals if name not in brought
    }
    accepted = {name: view.records[name].value.ids for name in view.records if name in brought}
    for name, ids in brought.items():
        if accepted.get(name) == ids:
            if name in view.refusals:
                changes[keys.refusal(name)] = None
            continue
        others = {other: sets for other, sets in accepted.items() if other != name}
        why = _overlap(name, ids, others) or _overlap_with_arena(ids, farm, scheme)
        if why is None:
            accepted[name] = ids
            changes[keys.record(name)] = Record(ids)
            if name in view.refusals:
                changes[keys.refusal(name)] = None
        else:
            changes |= _refused(view, name, why)
    return changes


def _refused(view: View, name: str, why: str) -> Changes:
    presence = view.servers.get(name)
    refusal = Refusal("" if presence is None else presence.value.incarnation, why)
    known = view.refusals.get(name)
    return {} if known is not None and known.value == refusal else {keys.refusal(name): refusal}


def _overlap(
    name: str, ids: tuple[IdSet, ...], others: Mapping[str, tuple[IdSet, ...]]
) -> str | None:
    owners = [name] * len(ids) + [other for other, sets in others.items() for _ in sets]
    sets = [*ids, *(one for sets in others.values() for one in sets)]
    for one, other, common in overlaps(sets):
        if name in (owners[one], owners[other]):
            who = {owners[one], owners[other]} - {name}
            if not who:
                return f'the ids of "{name}" overlap each other: {common}'
            return f'the ids of "{name}" and "{who.pop()}" overlap: {common}'
    return None


def _overlap_with_arena(ids: tuple[IdSet, ...], farm: FarmValue, scheme: Scheme) -> str | None:
    arena = list(_arena(farm, scheme))
    for one, other, common in overlaps([*ids, *arena]):
        if min(one, other) < len(ids) <= max(one, other):
            return f"the ids overlap those that the farm assigns itself: {common}"
    return None


def _arena(farm: FarmValue, scheme: Scheme) -> Iterator[IdSet]:
    """All that the scheme may assign."""
    if scheme.cut is None:
        return
    yield from (scheme.cut(farm.division, number) for number in range(farm.division.count))


def _names(view: View, ended: Collection[str]) -> Changes:
    """Who a scheme by function knows: those in the order in which they came, then new ones."""
    known: Names | None = view.single(keys.NAMES)
    before = known.names if known else ()
    wanted = [
        name
        for name, wish in sorted(view.wishes.items())
        if wish.value.facts.managed and wish.value.facts.ids is None and name not in ended
    ]
    after = tuple(one for one in before if one in wanted)
    after += tuple(one for one in wanted if one not in before)
    return {} if after == before else {keys.NAMES: Names(after)}
