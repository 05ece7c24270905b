"""Every test here runs with the real reactor and must leave it clean."""

from tests.reactor import _clean_reactor

__all__ = ["_clean_reactor"]
