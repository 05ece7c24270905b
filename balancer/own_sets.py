"""Identifiers that servers brought themselves, as the registry has them (patent, p. 10).  Pure."""

from __future__ import annotations

from operator import itemgetter

from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange, IdSet, overlap, overlaps

OwnSets = tuple[tuple[str, tuple[IdSet, ...]], ...]
"""By server, the sets that it brought."""


def own_sets(view: View) -> OwnSets:
    """The sets that servers brought themselves; who has had them for longest comes first."""
    own = {name: (known.revision, name, known.value.ids) for name, known in view.records.items()}
    for name, wish in view.wishes.items():
        facts = wish.value.facts
        if facts.ids is not None and not facts.managed:
            own.setdefault(name, (wish.revision, name, facts.ids))
    return tuple((name, ids) for _, name, ids in sorted(own.values(), key=itemgetter(0, 1)))


def without_overlaps(own: OwnSets, arena: IdRange | None) -> tuple[OwnSets, list[str]]:
    """`own` without the servers that overlap an earlier one, or the arena; and why not those."""
    kept, faults = list(own), list[str]()
    while True:
        ranks = [rank for rank, (_, sets) in enumerate(kept) for _ in sets]
        sets = [one for _, sets in kept for one in sets]
        late: dict[int, str] = {}
        for rank, one in zip(ranks, sets, strict=True):
            if arena is not None and (inside := overlap(arena, one)):
                late[rank] = f"the arena of the farm overlap: {inside}"
        for place, other, common in overlaps(sets):
            first, second = sorted((ranks[place], ranks[other]))
            late.setdefault(second, f'"{kept[first][0]}" overlap: {common}')
        if not late:
            return tuple(kept), faults
        rank = min(late)
        name, _ = kept.pop(rank)
        faults.append(f'the ids of "{name}" are ignored: they and those of {late[rank]}')
