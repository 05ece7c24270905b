"""Assigning (306): how many parts each server is to have, and which of them move.  Pure.

Deterministic, and settled: once what it says has happened, it says nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import chain, islice

import attrs

from homing.shared.errors import HomingError

_MORE = Fraction(1, 4)
"""What a server gets, of what it has, that says it needs more identifiers."""


class CannotAllocate(HomingError):
    """More is asked for than there is."""


@attrs.frozen
class Claim:
    """What a server asks for: a share of what is assigned, so many parts, or else an even part."""

    share: Fraction | None = None
    parts: int | None = None
    weight: Fraction = Fraction(1)
    """Its even part, in proportion to that of others."""
    more: bool = False
    """It is near the end of what it has."""

    @property
    def is_fixed(self) -> bool:
        """Whether it says how much it wants: then it has no more than that."""
        return self.share is not None or self.parts is not None


@attrs.frozen
class Holding:
    """What a server has: the parts that can be taken from it, those to take first in front."""

    movable: Sequence[int]
    count: int
    """Those, and the ones that are on their way to it."""


@attrs.frozen
class Shift:
    """A part that is to go to another owner; to None: it is to be spare."""

    part: int
    to: str | None


def targets(claims: Mapping[str, Claim], count: int, spare: Fraction) -> dict[str, int]:
    """How many of `count` parts each server is to have; `spare` of them stay unassigned.

    Raises CannotAllocate.
    """
    assignable = count - -(-count * spare // 1)
    wanted = {name: _fixed(claim, assignable) for name, claim in claims.items() if claim.is_fixed}
    left = assignable - sum(wanted.values())
    rest = {name: claim.weight for name, claim in claims.items() if not claim.is_fixed}
    if left < len(rest):
        raise CannotAllocate(
            "the shares and max_ids of the servers come to more than 100% of what is not spare, "
            f"or leave nothing for others: {sum(wanted.values())} of {assignable} parts are asked "
            f"for, and {len(rest)} servers want an even part of what is left"
        )
    return wanted | _in_proportion(rest, int(left)) if rest else wanted


def _fixed(claim: Claim, assignable: int) -> int:
    if claim.share is not None:
        return max(1, round(assignable * claim.share))
    return max(1, claim.parts or 0)


def _in_proportion(weights: Mapping[str, Fraction], count: int) -> dict[str, int]:
    """Divides `count`, at least one for each, by weights: the largest remainders are rounded up."""
    total = sum(weights.values())
    left = count - len(weights)
    exact = {name: left * weight / total for name, weight in weights.items()}
    floors = {name: int(part) for name, part in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (floors[name] - exact[name], name))
    more = set(by_remainder[: left - sum(floors.values())])
    return {name: 1 + floors[name] + (name in more) for name in weights}


def shifts(
    claims: Mapping[str, Claim],
    held: Mapping[str, Holding],
    spare_parts: Iterable[int],
    count: int,
    spare: Fraction,
    even: bool = False,
) -> list[Shift]:
    """What has to move so that all servers have what they claim.

    `held` is by owner; owners without a claim lose all.  A server that has too little gets what
    others must give up anyway, then spare parts, then some of whoever has more than its target.
    Nothing else moves unless `even`.  Raises CannotAllocate.
    """
    wanted = targets(claims, count, spare)
    have = {name: held[name].count if name in held else 0 for name in claims}
    pool: list[int] = []
    for name, holding in held.items():
        if name not in claims:
            pool += holding.movable
        elif even or claims[name].is_fixed:
            pool += holding.movable[: max(0, have[name] - wanted[name])]
    free = iter(spare_parts)
    others = {name: count for name, count in have.items() if not claims[name].is_fixed}
    sources = chain(pool, free, () if even else _from_the_richest(held, others, wanted))
    found = []
    for name in sorted(claims, key=lambda name: have[name] - wanted[name]):
        found += [Shift(part, name) for part in islice(sources, max(0, wanted[name] - have[name]))]
    for name, claim in claims.items():
        if claim.more and not claim.is_fixed:
            found += [Shift(part, name) for part in islice(free, max(1, int(have[name] * _MORE)))]
    given = {shift.part for shift in found}
    return found + [Shift(part, None) for part in pool if part not in given]


def _from_the_richest(
    held: Mapping[str, Holding], have: Mapping[str, int], wanted: Mapping[str, int]
) -> Iterator[int]:
    """The parts that are above the targets, one at a time from whoever has most above its own."""
    above = [(wanted[name] - have[name], name) for name in have if have[name] > wanted[name]]
    heapify(above)
    movable = {name: iter(held[name].movable) for _, name in above}
    while above:
        surplus, name = heappop(above)
        part = next(movable[name], None)
        if part is not None:
            yield part
            if surplus < -1:
                heappush(above, (surplus + 1, name))
