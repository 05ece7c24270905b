"""ID sets: sets of identifiers that a server may give out (patent, p. 6 and 10).

A prefix is a range.  Every kind of set can say whether it contains an identifier, count and number
its members, draw one, and turn into plain data and back; `overlap` compares any two.
"""

from homing.shared.id_sets.base import IdSet, Randbelow, Taken, draw
from homing.shared.id_sets.bits import MandatoryBits
from homing.shared.id_sets.lists import IdList
from homing.shared.id_sets.overlap import Overlap, overlap
from homing.shared.id_sets.plain import from_data, parse_hex
from homing.shared.id_sets.ranges import IdRange

__all__ = [
    "IdList",
    "IdRange",
    "IdSet",
    "MandatoryBits",
    "Overlap",
    "Randbelow",
    "Taken",
    "draw",
    "from_data",
    "overlap",
    "parse_hex",
]
