"""Who claims how many parts, and who has which, as the farm's state says.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from functools import cache
from math import inf

from homing.balancer.management.allocation import Claim, Holding
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import SPARE, FarmValue, PartValue, ServerState, Wish
from homing.shared.farm_state.view import View
from homing.shared.moves import PartStep
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import Division


def claims(view: View, farm: FarmValue, scheme: Scheme) -> dict[str, Claim]:
    """What the servers claim that get parts, by name.

    Even parts are in proportion to the sessions that servers can hold, once all have said so, and
    to their weights.
    """
    size = part_size(scheme, farm.division)
    asking = {
        name: known.value for name, known in sorted(view.wishes.items()) if gets_parts(known.value)
    }
    all_say = all(wish.sessions > 0 for wish in asking.values())
    return {
        name: Claim(
            _share(wish),
            None if wish.max_ids is None else max(1, wish.max_ids // size),
            _weight(wish) * (wish.sessions if all_say else 1),
            more=_needs_more(view, name),
        )
        for name, wish in asking.items()
    }


@cache
def part_size(scheme: Scheme, division: Division) -> int:
    """How many identifiers a part has."""
    assert scheme.cut is not None
    return scheme.cut(division, 0).count()


def _share(wish: Wish) -> Fraction | None:
    if wish.share is None or not 0 < wish.share <= 1:
        return None
    return Fraction(wish.share).limit_denominator(100_000)


def _weight(wish: Wish) -> Fraction:
    if not 0 < wish.weight < inf:
        return Fraction(1)
    return max(Fraction(wish.weight).limit_denominator(10_000), Fraction(1, 10_000))


def gets_parts(wish: Wish) -> bool:
    """Whether the farm assigns identifiers to that server."""
    return wish.state is ServerState.ACTIVE and wish.facts.managed and wish.facts.ids is None


def _needs_more(view: View, name: str) -> bool:
    """Whether a server says so, has drawn from all its parts, and gets no others already."""
    presence = view.servers.get(name)
    if presence is None or not presence.value.needs.more:
        return False
    own = (view.parts[number].value for number in view.owned.get(name, ()))
    return all(part.drawn and part.next is None for part in own)


def limits(view: View, size: int) -> dict[str, int | None]:
    """By server, how many identifiers it may draw of a part of so many; None: all."""
    asked = {name: known.value.max_ids for name, known in view.wishes.items()}
    return {
        name: most if most is not None and most < size else None for name, most in asked.items()
    }


def heir(part: PartValue) -> str:
    """Who has the part once all moves are over."""
    return part.owner if part.next is None else part.next


def holdings(view: View, claimants: Collection[str], but: Collection[int]) -> dict[str, Holding]:
    """What each owner has; a part on its way counts for its next owner.

    Parts that were never drawn from come first, those with high numbers before others.  Those of
    `but` do not move now, nor does a part on its way, unless its next owner claims nothing.
    """
    counts: dict[str, int] = {}
    movable: dict[str, list[tuple[bool, int]]] = {}
    for number, known in view.parts.items():
        part = known.value
        name = heir(part)
        if name == SPARE:
            continue
        counts[name] = counts.get(name, 0) + 1
        under_way = part.step is not PartStep.HELD or part.next is not None
        if number not in but and not (under_way and name in claimants):
            movable.setdefault(name, []).append((part.drawn, -number))
    return {
        name: Holding([-number for _, number in sorted(movable.get(name, ()))], count)
        for name, count in counts.items()
    }


def spare_numbers(view: View, farm: FarmValue) -> Iterator[int]:
    """The parts that nobody has; one whose value is not understood is somebody's."""
    return (
        number
        for number in range(farm.division.count)
        if number not in view.parts and not view.revision_of(keys.part(number))
    )


def owes_nothing(view: View, name: str) -> bool:
    """Whether a server owns nothing, gets nothing, and no session lives in what it had."""
    if view.owned.get(name) or any(page.split("/")[1] == name for page in view.exceptions):
        return False
    presence = view.servers.get(name)
    if presence is None:
        return name not in view.assignments
    return presence.value.sessions == 0
