"""Sessions in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homing.server.groups.store import sqlite_file
from homing.server.groups.store.base import StoreBusy, StoreFailure
from homing.shared.errors import HomingError

LARGEST = 100_000
"""Sessions at most; those that expire first go first."""

SWEEP = 16
"""Rows that one put removes at most; it adds one, so the file cannot grow for ever."""

_GET = "SELECT CAST(value AS BLOB) FROM sessions WHERE name = ? AND expires > ?"
_PUT = (
    "INSERT INTO sessions VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_REMOVE_EXPIRED = (
    "DELETE FROM sessions WHERE rowid IN "
    "(SELECT rowid FROM sessions WHERE expires <= ? ORDER BY expires LIMIT ?)"
)
_REMOVE_NEXT = (
    "DELETE FROM sessions WHERE rowid IN (SELECT rowid FROM sessions ORDER BY expires LIMIT ?)"
)


class SqliteBackend:
    """Keeps sessions in the file at the absolute `path`, which is made when it is first needed.

    Another application's database is left as it is; a broken one of ours is set aside.
    """

    threads = 1  # SQLite lets one write at a time anyway

    def __init__(
        self, path: Path, largest: int = LARGEST, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._largest = largest
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._seen = 0, 0, 0

    @property
    def label(self) -> str:
        return f"sqlite:{self._path}"

    def get(self, name: bytes) -> bytes | None:
        with self._connected() as connection:
            row = connection.execute(_GET, (name, self._now())).fetchone()
        return row[0] if row else None

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        now = self._now()
        with self._transaction() as connection:
            connection.execute(_PUT, (name, value, now + lifetime))
            self._sweep(connection, now)

    def probe(self) -> None:
        with self._transaction() as connection:
            self._sweep(connection, self._now())

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(_REMOVE_EXPIRED, (now, SWEEP))
        (count,) = connection.execute("SELECT sessions FROM size").fetchone()
        if count > self._largest:
            connection.execute(_REMOVE_NEXT, (min(count - self._largest, SWEEP),))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection, sqlite_file.transaction(connection):
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """The one connection; it is closed after a failure."""
        try:
            yield self._current()
        except BaseException as error:
            self.close()
            sqlite_file.set_aside_if_broken(self._path, self._seen[:2], error)
            if isinstance(error, (sqlite3.Error, OSError, HomingError)):
                raise _translated(error) from error
            raise

    def _current(self) -> sqlite3.Connection:
        """The connection; a new one if the file was removed or replaced, or a table dropped."""
        if self._connection is not None:
            with suppress(FileNotFoundError, sqlite3.Error):
                if sqlite_file.seen(self._connection, self._path) == self._seen:
                    return self._connection
            self.close()
        sqlite_file.create(self._path)
        self._seen = *sqlite_file.identity(self._path), 0
        self._connection, self._seen = sqlite_file.opened(self._path)
        return self._connection


def _translated(error: sqlite3.Error | OSError | HomingError) -> StoreFailure:
    code = sqlite_file.code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(str(error))
    if isinstance(error, OSError):
        return StoreFailure(error.strerror or type(error).__name__)
    hint = ": remove it, and a new one is made" if code == sqlite3.SQLITE_NOTADB else ""
    return StoreFailure(f"{error}{hint}")
