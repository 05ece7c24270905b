"""Schemes by function: no table of sets, but one definition from which a server's drawing and the
balancer's look-up both follow (patent, p. 10).
"""

from shared.schemes.base import Scheme, Share
from shared.schemes.function import FunctionScheme
from shared.schemes.hashed import HashScheme
from shared.schemes.keyed import KeyedScheme
from shared.schemes.seeded import SeededScheme

__all__ = ["FunctionScheme", "HashScheme", "KeyedScheme", "Scheme", "SeededScheme", "Share"]
