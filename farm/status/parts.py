"""Who owns what: parts, servers' own records, and shares of the whole.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from homing.farm.status.division import division, joined
from homing.farm.status.values import TO_SPARE, PartStatus
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import SPARE, Names, PartValue
from homing.shared.farm_state.view import View
from homing.shared.id_sets import to_data


def parts(view: View) -> Iterator[PartStatus]:
    """All parts that have an owner; neighbours that are alike are joined where their sets are."""
    divided = division(view)
    if divided is None:
        return
    _, cut = divided
    listed: Counter[int] = Counter()
    for key, page in view.exceptions.items():
        listed[int(key.split("/")[0])] += len(page.value.identifiers)

    def alike(place: tuple[int, int]) -> object:
        index, number = place
        one = view.parts[number].value
        return number - index, one.owner, one.step, one.next

    for _, group in groupby(enumerate(sorted(view.parts)), alike):
        numbers = [number for _, number in group]
        whole = joined(cut(numbers[0]), cut(numbers[-1]))
        for run in [numbers] if whole else [[number] for number in numbers]:
            one = view.parts[run[0]].value
            assignment = view.assignments.get(one.owner)
            yield PartStatus(
                to_data(whole or cut(run[0])),
                one.owner,
                one.step.value,
                next_owner(one),
                assignment.value.until or None if assignment else None,
                sum(listed[number] for number in run),
            )


def own_records(view: View) -> Iterator[PartStatus]:
    """What servers brought themselves."""
    for name, known in sorted(view.records.items()):
        for one in known.value.ids:
            yield PartStatus(to_data(one), name, "own", None, None, 0)


def next_owner(one: PartValue) -> str | None:
    """The next owner in words; None for a part that does not move."""
    return TO_SPARE if one.next == SPARE else one.next


def shares(view: View) -> tuple[dict[str, float], float]:
    """By server, its part of all identifiers that the scheme assigns; and what is spare.

    A group's parts count for its members, evenly.
    """
    divided = division(view)
    owners: dict[str, float] = {}
    if divided is not None:
        count = divided[0].count
        owners = {one: len(numbers) / count for one, numbers in view.owned.items() if numbers}
    else:
        names: Names | None = view.single(keys.NAMES)
        if names is not None:
            owners = {one: 1 / len(names.names) for one in names.names}
    spare = 0.0 if divided is None else 1 - sum(owners.values())
    return _by_server(view, owners), spare


def exceptions(view: View, server: str) -> int:
    """How many identifiers live at a server although their part has another owner."""
    return sum(
        len(page.value.identifiers)
        for key, page in view.exceptions.items()
        if key.split("/")[1] == server
    )


def _by_server(view: View, owners: dict[str, float]) -> dict[str, float]:
    members: dict[str, list[str]] = {}
    for name, known in view.wishes.items():
        if known.value.facts.group is not None:
            members.setdefault(known.value.facts.group, []).append(name)
    found: dict[str, float] = {}
    for owner, share in owners.items():
        servers = members.get(owner, [owner])
        for name in servers:
            found[name] = found.get(name, 0.0) + share / len(servers)
    return found
