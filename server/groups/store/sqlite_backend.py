"""Sessions in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from homing.server.groups.store import sqlite_file
from homing.server.groups.store.base import StoreBusy, StoreFailure
from homing.server.groups.store.sqlite_file import BUSY, Seen
from homing.shared.errors import HomingError

LARGEST = 100_000
"""Sessions at most; those that would expire first go first."""

SWEEP = 16
"""Rows that one put removes at most: more than it adds, so the file cannot grow for ever."""

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
    """Blocking; the file at the absolute `path` is made when it is first needed.

    A database that is something else's is left as it is; one of ours that is broken is set aside.
    """

    def __init__(
        self, path: Path, largest: int = LARGEST, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._largest = largest
        self._now = now
        self._idle: list[tuple[sqlite3.Connection, Seen]] = []
        self._opening = Lock()
        # SQLite itself lets writers wait by sleeping and looking again
        self._writing = Lock()

    @property
    def label(self) -> str:
        return f"sqlite:{self._path}"

    def get(self, name: bytes) -> bytes | None:
        with self._connection() as connection:
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
        while self._idle:
            with suppress(sqlite3.Error):
                self._idle.pop()[0].close()

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(_REMOVE_EXPIRED, (now, SWEEP))
        (count,) = connection.execute("SELECT sessions FROM size").fetchone()
        if count > self._largest:
            connection.execute(_REMOVE_NEXT, (min(count - self._largest, SWEEP),))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._writing.acquire(timeout=BUSY):
            raise StoreBusy("the database is locked")
        try:
            with self._connection() as connection, sqlite_file.transaction(connection):
                yield connection
        finally:
            self._writing.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses; one that failed is not used again."""
        try:
            connection, seen = self._take()
            try:
                yield connection
            except BaseException as error:
                connection.close()
                sqlite_file.set_aside_if_broken(self._path, seen[:2], error)
                raise
            self._idle.append((connection, seen))
        except sqlite3.Error as error:
            raise _translated(error) from error
        except OSError as error:
            raise StoreFailure(error.strerror or type(error).__name__) from error
        except HomingError as error:
            raise StoreFailure(str(error)) from error

    def _take(self) -> tuple[sqlite3.Connection, Seen]:
        while self._idle:
            connection, seen = self._idle.pop()
            with suppress(FileNotFoundError, sqlite3.Error):
                if sqlite_file.seen(connection, self._path) == seen:
                    return connection, seen
            connection.close()  # the file was removed, replaced, damaged, or a table dropped
        with self._opening:
            sqlite_file.create(self._path)
            file = sqlite_file.identity(self._path)
            try:
                return sqlite_file.opened(self._path)
            except sqlite3.Error as error:
                sqlite_file.set_aside_if_broken(self._path, file, error)
                raise


def _translated(error: sqlite3.Error) -> StoreFailure:
    code = sqlite_file.code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(str(error))
    hint = ": remove it, and a new one is made" if code == sqlite3.SQLITE_NOTADB else ""
    return StoreFailure(f"{error}{hint}")
