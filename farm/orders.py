"""What people ask of a running farm: what is written for it, and when it is done.  Pure.

Every function raises HomingError when it cannot be, in words for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from fractions import Fraction

import attrs

from homing.balancer.management.allocation import targets
from homing.balancer.management.claims import claims
from homing.farm import progress
from homing.farm.wishes import BY_COMMAND
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import FarmValue, Reassign, ServerFacts, ServerState, Wish
from homing.shared.farm_state.view import Known, View
from homing.shared.moves import Way
from homing.shared.schemes import SCHEMES


@attrs.frozen
class Order:
    """What is written, by key, and how far the farm is with it."""

    changes: Mapping[str, object]
    look: progress.Look
    done: str
    """What is then so."""


Leaving = Callable[[View, str, Way | None], Order]
"""How a server leaves, by its name."""


@attrs.frozen
class Size:
    """How much a server is to own: a share of what is not spare, so many IDs, or neither."""

    share: Fraction | None = None
    max_ids: int | None = None


def add(
    view: View,
    name: str,
    address: str | None = None,
    size: Size = Size(),
    weight: float | None = None,
    how: Way | None = None,
) -> Order:
    """A server more; one that is draining or being removed stays after all."""
    farm, known = _farm(view), view.wishes.get(name)
    if known is not None and known.value.state is ServerState.ACTIVE:
        raise HomingError(f"{name} is a server of the farm already, at {known.value.facts.address}")
    wish = known.value if known else Wish(ServerFacts(f"unix:{name}.sock"), source=BY_COMMAND)
    wish = attrs.evolve(wish, state=ServerState.ACTIVE, how=how or wish.how)
    if address is not None:
        wish = attrs.evolve(wish, facts=attrs.evolve(wish.facts, address=address))
    _only_one_at(view, name, wish.facts.address)
    if weight is not None:
        wish = attrs.evolve(wish, weight=weight)
    if size != Size():
        wish = _sized(farm, name, wish, size)
    target = _target(view, farm, name, wish)
    done = f"{name} is up and has its identifiers"
    return Order({keys.wish(name): wish}, progress.joined(name, target), done)


def drain(view: View, name: str, how: Way | None = None) -> Order:
    """A server gets no new clients and owns nothing; its sessions end in their time."""
    wish = _leaving(view, name)
    # One that is being removed goes on to be
    state = wish.state if wish.state is ServerState.REMOVED else ServerState.DRAINING
    wish = attrs.evolve(wish, state=state, how=how or wish.how)
    return Order({keys.wish(name): wish}, progress.drained(name), f"{name} is drained")


def remove(view: View, name: str, how: Way | None = None) -> Order:
    """A server is drained, and then no longer of the farm."""
    wish = _leaving(view, name)
    wish = attrs.evolve(wish, state=ServerState.REMOVED, how=how or wish.how)
    return Order({keys.wish(name): wish}, progress.removed(name), f"{name} is removed")


def resize(view: View, name: str, size: Size, how: Way | None = None) -> Order:
    """A server is to own more or less."""
    farm, wish = _farm(view), _wish(view, name)
    if wish.state is not ServerState.ACTIVE:
        raise HomingError(f"{name} is {wish.state.value}: it is to own nothing")
    wish = attrs.evolve(_sized(farm, name, wish, size), how=how or wish.how)
    target = _target(view, farm, name, wish)
    words = f"{float(100 * size.share):g}%" if size.share is not None else f"{size.max_ids} IDs"
    return Order(
        {keys.wish(name): wish}, progress.resized(name, target), f"{name} is resized to {words}"
    )


def reassign(view: View, how: Way | None = None, at: float | None = None) -> Order:
    """The farm is evened; `at`, in seconds since 1970, is when scheduled moves take effect."""
    _farm(view)
    return Order({keys.REASSIGN: Reassign(how, at)}, progress.evened, "the farm is even")


def _farm(view: View) -> FarmValue:
    if view.farm is None:
        raise HomingError("the registry knows of no farm yet: start a balancer of it first")
    return view.farm


def _wish(view: View, name: str) -> Wish:
    there = [
        one
        for one, known in sorted(view.wishes.items())
        if known.value.state is not ServerState.GONE
    ]
    if name not in there:
        names = ", ".join(there) or "none"
        raise HomingError(f"{name} is no server of the farm; there are {names}")
    return view.wishes[name].value


def _only_one_at(view: View, name: str, address: str) -> None:
    for other, known in view.wishes.items():
        there = known.value.state is not ServerState.GONE
        if there and other != name and known.value.facts.address == address:
            raise HomingError(f"{address} is the address of {other}: choose another for {name}")


def _leaving(view: View, name: str) -> Wish:
    _farm(view)
    wish = _wish(view, name)
    active = [one for one in view.wishes if view.wishes[one].value.state is ServerState.ACTIVE]
    if active == [name]:
        raise HomingError(f"{name} is the only active server: add another first")
    return wish


def _sized(farm: FarmValue, name: str, wish: Wish, size: Size) -> Wish:
    if not farm.prefix:
        raise HomingError(
            f'the scheme "{farm.scheme}" is a function that says whose each identifier is: '
            f"{name} has no size"
        )
    if not wish.facts.managed or wish.facts.ids is not None:
        raise HomingError(f"{name} brings its own identifiers: the farm assigns it none")
    share = None if size.share is None else float(size.share)
    return attrs.evolve(wish, share=share, max_ids=size.max_ids)


def _target(view: View, farm: FarmValue, name: str, wish: Wish) -> int | None:
    """How many parts a server is to own, where its share or max_ids says so.

    Raises HomingError when all together ask for more than there is.
    """
    scheme = SCHEMES.get(farm.scheme)
    if scheme is None or scheme.cut is None:
        return None
    then = copy(view)
    then.wishes = view.wishes | {name: Known(wish, 0)}
    claimed = claims(then, farm, scheme)
    found = targets(claimed, farm.division.count, Fraction(farm.spare).limit_denominator(10_000))
    return found[name] if name in claimed and claimed[name].is_fixed else None
