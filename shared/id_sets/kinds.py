"""The kinds of ID sets there are."""

from __future__ import annotations

from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.ranges import IdRange

IdSet = IdRange | MandatoryBits | IdList
"""A set of identifiers; its `first` and `last` are its lowest and highest member, 32 bytes each."""
