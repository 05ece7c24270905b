"""ID sets: sets of identifiers that a server may give out (patent, p. 6 and 10).

A prefix is a range.  Every kind of set is a part (`homing.shared.part`) that can number its members
too; `overlap` compares any two.
"""

from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.kinds import IdSet
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.overlap import Overlap, overlap, overlaps
from homing.shared.id_sets.plain import from_data, parse_hex
from homing.shared.id_sets.ranges import IdRange
from homing.shared.id_sets.room import free_prefix
from homing.shared.part import Randbelow, Taken

__all__ = [
    "IdList",
    "IdRange",
    "IdSet",
    "MandatoryBits",
    "Overlap",
    "Randbelow",
    "Taken",
    "free_prefix",
    "from_data",
    "overlap",
    "overlaps",
    "parse_hex",
]
