"""The file of an SQLite store: creates it, opens it, and sets it aside when it is broken."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homing.server.groups.store.base import StoreFailure
from homing.server.ownership import must_be_ours, safe_way
from homing.shared.errors import HomingError

BUSY = 0.2
"""Seconds to wait for another process that writes."""

_APPLICATION = 0x484F4D45
_VERSION = 1

_HEADER = struct.Struct("!16s44xI4xI")
"""How a database file begins: format, user_version, application_id (sqlite.org/fileformat.html)."""
_MAGIC = b"SQLite format 3\0"

_PARTS = {
    "sessions": "CREATE TABLE sessions "
    "(name BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL)",
    "sessions_by_expiry": "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    # Counting the rows would take longer the more there are
    "size": "CREATE TABLE size (sessions INTEGER NOT NULL)",
    "one_more": "CREATE TRIGGER one_more AFTER INSERT ON sessions "
    "BEGIN UPDATE size SET sessions = sessions + 1; END",
    "one_less": "CREATE TRIGGER one_less AFTER DELETE ON sessions "
    "BEGIN UPDATE size SET sessions = sessions - 1; END",
}
"""The database's tables, index and triggers, by name."""
_THE_REST = (
    "DELETE FROM size",
    "INSERT INTO size SELECT count(*) FROM sessions",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

Seen = tuple[int, int, int]
"""Which file a connection has open, and the version of its schema."""


def code(error: BaseException) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended code has more bits


def identity(path: Path) -> tuple[int, int]:
    """Which file it is.  Raises OSError."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def seen(connection: sqlite3.Connection, path: Path) -> Seen:
    """What must not change while a connection is open.  Raises OSError, sqlite3.Error."""
    (schema,) = connection.execute("PRAGMA schema_version").fetchone()
    return *identity(path), schema


def set_aside_if_broken(path: Path, file: tuple[int, int], error: BaseException) -> None:
    """Rename a corrupt `file`, if it was a store of ours, so that the store goes on with a new one.

    Its sessions are lost, which costs full handshakes.
    """
    if code(error) != sqlite3.SQLITE_CORRUPT:
        return
    with suppress(OSError):
        with path.open("rb") as broken:
            header = broken.read(_HEADER.size)
        if _HEADER.unpack(header) != (_MAGIC, _VERSION, _APPLICATION) or identity(path) != file:
            return  # somebody else's, or another process was faster
        for leftover in _beside(path):
            leftover.unlink(missing_ok=True)
        path.rename(f"{path}.broken")


def _beside(path: Path) -> tuple[Path, Path]:
    """SQLite's own files of the database at `path`."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def create(path: Path) -> None:
    """Create the file, for its owner alone; SQLite gives its other files the same mode.

    An existing file is not opened: closing it would drop the SQLite locks of all connections of
    this process.  Raises OSError, and HomingError when other users could have made it.
    """
    safe_way(path)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise HomingError(f"{path} is not a file: remove it")
    must_be_ours(path, status)


def opened(path: Path) -> tuple[sqlite3.Connection, Seen]:
    """A connection to the store at `path`, which has all its tables.

    Raises StoreFailure, OSError, sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        _claim(connection)
        _for_owner_alone(path)
        # Readers and the writer do not wait for each other, nor a commit for the disk
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection, seen(connection, path)
    except BaseException:
        connection.close()
        raise


def _claim(connection: sqlite3.Connection) -> None:
    """Create what is missing; raises StoreFailure when the database is another application's."""
    with transaction(connection, "DEFERRED"):  # reads one state, not half of another's changes
        if not _missing(connection):
            return
    with transaction(connection):
        for part in _missing(connection):  # unless another process was faster
            connection.execute(_PARTS[part])
        for statement in _THE_REST:
            connection.execute(statement)


def _missing(connection: sqlite3.Connection) -> list[str]:
    """Which of `_PARTS` are missing; raises StoreFailure when the database cannot be ours."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    ours = (application, version) == (_APPLICATION, _VERSION)
    if not ours and (application or version or names):
        raise StoreFailure("this database is not a session store of this version")
    return [name for name in _PARTS if name not in names]


def _for_owner_alone(path: Path) -> None:
    for file in (path, *_beside(path)):
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Commits; after an error the caller closes the connection, which rolls back."""
    connection.execute(f"BEGIN {kind}")
    yield
    connection.execute("COMMIT")
