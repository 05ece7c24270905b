"""A registry in an SQLite file, for the processes of one user on one machine."""

from homing.shared.registry.sqlite.registry import SqliteRegistry

__all__ = ["SqliteRegistry"]
