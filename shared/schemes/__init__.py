"""Schemes: how identifiers are assigned to servers that bring none (patent, p. 3, 6, 10).

One file a scheme, and here the one list of them.
"""

from homing.shared.schemes.base import Scheme
from homing.shared.schemes.bits import BITS
from homing.shared.schemes.function import FUNCTION
from homing.shared.schemes.hash import HASH
from homing.shared.schemes.keyed import KEYED
from homing.shared.schemes.list import LIST
from homing.shared.schemes.range import RANGE
from homing.shared.schemes.seeded import SEEDED

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in (RANGE, BITS, LIST, HASH, SEEDED, KEYED, FUNCTION)
}
"""By the names that farm.toml has for them; the first is the default."""
