"""Schemes by function: no table of sets, but one definition from which a server's drawing and the
balancer's look-up both follow (patent, p. 10).
"""

from homing.shared.schemes.base import Scheme, Share
from homing.shared.schemes.function import FunctionScheme
from homing.shared.schemes.hashed import HashScheme
from homing.shared.schemes.keyed import KeyedScheme
from homing.shared.schemes.seeded import SeededScheme

__all__ = ["FunctionScheme", "HashScheme", "KeyedScheme", "Scheme", "SeededScheme", "Share"]
