"""How far the farm is with what people asked for.  Pure.

Each function makes one that takes a view and says what is left, or raises HomingError when what was
asked for cannot be any more.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import attrs

from homing.balancer.management.claims import owes_nothing
from homing.farm.status.parts import exceptions
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import ServerState, Wish
from homing.shared.farm_state.view import View


@attrs.frozen
class Progress:
    """How many steps are left, as far as they can be counted, and what is waited for."""

    left: int
    words: str = ""


Look = Callable[[View], Progress]

DONE = Progress(0)


def joined(name: str, target: int | None) -> Look:
    """A server is up, has its parts (`target` of them, if known), and its record follows."""

    def look(view: View) -> Progress:
        wish = _wish(view, name)
        there = view.servers.get(name)
        if there is None and wish.facts.managed:
            return Progress(1, f"{name} is not up yet")
        if there is None or wish.facts.ids is not None:
            accepted = wish.facts.ids is None or name in view.records
            return DONE if accepted else Progress(1, f"the identifiers of {name} are looked at")
        owned = _owned(view, name, wish)
        known = view.single(keys.NAMES)
        if not owned and (known is None or not {name, wish.facts.group} & {*known.names}):
            return Progress(1, f"{name} has no identifiers yet")
        coming = resized(name, target)(view)
        if coming.left:
            return coming
        newest = max((view.parts[one].revision for one in owned), default=0)
        if there.value.epoch < newest:
            return Progress(1, f"the record of {name} follows {there.value.epoch} of {newest}")
        return DONE

    return look


def drained(name: str) -> Look:
    """A server owns nothing, no exception is left to it, and no session lives there."""

    def look(view: View) -> Progress:
        wish = view.wishes.get(name)
        if wish is not None and wish.value.state is ServerState.ACTIVE:
            raise HomingError(f"{name} stays in the farm: somebody has added it again")
        if left := len(view.owned.get(name, ())):
            return Progress(left, f"{name} owns {_count(left, 'part')}")
        if left := exceptions(view, name):
            return Progress(
                left, f"{_count(left, 'identifier')} of {name} still live{_at_most(view)}"
            )
        if not owes_nothing(view, name):
            return _owed(view, name)
        return DONE

    return look


def _owed(view: View, name: str) -> Progress:
    there = view.servers.get(name)
    if there is None:
        return Progress(1, f"{name} is down; what it was assigned is not over yet")
    left = there.value.sessions
    return Progress(left, f"{_count(left, 'session')} still live at {name}{_at_most(view)}")


def removed(name: str) -> Look:
    """A server is no longer of the farm."""

    def look(view: View) -> Progress:
        drain = drained(name)(view)
        if drain.left:
            return drain
        if name in view.servers:
            return Progress(1, f"{name} is drained, but still up: it can be stopped")
        wish = view.wishes.get(name)
        if wish is not None and wish.value.state is not ServerState.GONE:
            return Progress(1, f"{name} is down; the manager removes it")
        return DONE

    return look


def resized(name: str, target: int | None) -> Look:
    """Nothing moves, and a server has what it is to have, give or take a part."""

    def look(view: View) -> Progress:
        owned = len(_owned(view, name, _wish(view, name)))
        if target is not None and abs(owned - target) > 1:
            left = abs(owned - target)
            return Progress(left, f"{name} has {owned} parts, and is to have {target}")
        return settled(view)

    return look


def evened(view: View) -> Progress:
    """The manager has done what was asked, and nothing moves."""
    if view.single(keys.REASSIGN) is not None:
        return Progress(1, "the manager evens the farm")
    return settled(view)


def settled(view: View) -> Progress:
    """No part moves."""
    left = sum(known.value.next is not None for known in view.parts.values())
    return Progress(left, f"{_count(left, 'part')} on the way") if left else DONE


def _wish(view: View, name: str) -> Wish:
    if name in view.refusals:
        raise HomingError(f"{name} is refused: {view.refusals[name].value.why}")
    if name not in view.wishes:
        raise HomingError(f"{name} is no longer of the farm: somebody has removed it")
    return view.wishes[name].value


def _owned(view: View, name: str, wish: Wish) -> set[int]:
    return view.owned.get(name) or view.owned.get(wish.facts.group or "") or set()


def _at_most(view: View) -> str:
    """How long sessions live that were given out just before a server began to leave."""
    return f", for {_count(ceil(view.farm.lifetime / 60), 'minute')} at most" if view.farm else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
