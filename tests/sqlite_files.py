"""What may become of an SQLite file: somebody else's, cut off, or on a full disk."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

GARBAGE = b"garbage " * 1000


def foreign(statement: str) -> bytes:
    """The file of a database that is something else's."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(statement)
        return connection.serialize()


def execute(path: Path, *statements: str) -> None:
    """What somebody else does to the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def checkpoint(path: Path) -> int:
    """Bring all that was put into the file itself; returns its size."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: an error at each write that would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
