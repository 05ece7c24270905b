"""The sets of a farm's parts, for showing.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange, IdSet
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division


def division(view: View) -> tuple[Division, Callable[[int], IdSet]] | None:
    """How identifiers are divided, and the set of a part by its number.

    None where they are not divided, or this version does not know how.
    """
    farm = view.farm
    scheme = None if farm is None else SCHEMES.get(farm.scheme)
    if farm is None or scheme is None or scheme.cut is None:
        return None
    try:
        found = farm.division
    except ValueError:
        return None
    return found, partial(scheme.cut, found)


def joined(low: IdSet, high: IdSet) -> IdSet | None:
    """The set of all parts between two; None for sets that do not join."""
    if isinstance(low, IdRange) and isinstance(high, IdRange):
        return IdRange(low.first, high.last)
    return None
