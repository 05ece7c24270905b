"""Sessions in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from server.store.base import StoreBusy, StoreFailure

BUSY = 0.2
"""Seconds to wait for another that writes."""

LARGEST = 100_000
"""Sessions at most; those that would expire first go first."""

SWEEP = 16
"""Rows that one put removes at most: more than it adds, so the file cannot grow for ever."""

_APPLICATION = 0x484F4D45
_VERSION = 1

_SCHEMA = (
    "CREATE TABLE sessions (name BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL)",
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    # Counting the rows would take longer the more there are
    "CREATE TABLE size (sessions INTEGER NOT NULL)",
    "INSERT INTO size VALUES (0)",
    "CREATE TRIGGER one_more AFTER INSERT ON sessions "
    "BEGIN UPDATE size SET sessions = sessions + 1; END",
    "CREATE TRIGGER one_less AFTER DELETE ON sessions "
    "BEGIN UPDATE size SET sessions = sessions - 1; END",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

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

    A database that is something else's is left as it is.
    """

    def __init__(
        self, path: Path, largest: int = LARGEST, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._largest = largest
        self._now = now
        self._idle: list[tuple[sqlite3.Connection, tuple[int, int]]] = []
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
            with self._connection() as connection, _transaction(connection):
                yield connection
        finally:
            self._writing.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses; one that failed is not used again."""
        try:
            connection, file = self._take()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.append((connection, file))
        except sqlite3.Error as error:
            raise _translated(error) from error
        except OSError as error:
            raise StoreFailure(error.strerror or type(error).__name__) from error

    def _take(self) -> tuple[sqlite3.Connection, tuple[int, int]]:
        while self._idle:
            connection, file = self._idle.pop()
            with suppress(FileNotFoundError):
                if _identity(self._path) == file:
                    return connection, file
            connection.close()  # the file was removed, or another put in its place
        with self._opening:
            _create(self._path)
            return _opened(self._path), _identity(self._path)


def _translated(error: sqlite3.Error) -> StoreFailure:
    # The low byte is the primary code, whatever the extended one says
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    busy = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return (StoreBusy if busy else StoreFailure)(str(error))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """Make the file for its owner alone; SQLite gives its other files the same mode.

    A file that exists is not even opened: to close it again would take SQLite's locks away from
    all connections of this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _opened(path: Path) -> sqlite3.Connection:
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
        # Readers and the writer do not wait for each other, and a commit not for the disk
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _claim(connection: sqlite3.Connection) -> None:
    """Set an empty database up; raises StoreFailure when it is not ours."""
    if _is_ours(connection):
        return
    with _transaction(connection):
        if not _is_ours(connection):  # unless another process was faster
            for statement in _SCHEMA:
                connection.execute(statement)


def _is_ours(connection: sqlite3.Connection) -> bool:
    """False when the database is empty; raises StoreFailure when it is something else's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) == (_APPLICATION, _VERSION):
        return True
    if application or version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreFailure("this database is not a session store of this version")
    return False


def _for_owner_alone(path: Path) -> None:
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits; a connection that raises is closed by its owner, which takes it all back."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")
