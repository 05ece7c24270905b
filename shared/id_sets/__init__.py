"""ID sets: sets of identifiers that a server may give out (patent, p. 6 and 10).

A prefix is a range.  Every kind of set is a `Part` whose members are numbered, too; `overlap`
compares any two.
"""

from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.kinds import IdSet
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.overlap import Overlap, overlap, overlaps
from homing.shared.id_sets.plain import from_data, parse_hex, to_data
from homing.shared.id_sets.ranges import IdRange

__all__ = [
    "IdList",
    "IdRange",
    "IdSet",
    "MandatoryBits",
    "Overlap",
    "from_data",
    "overlap",
    "overlaps",
    "parse_hex",
    "to_data",
]
