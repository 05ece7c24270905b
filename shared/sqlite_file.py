"""A database of ours in an SQLite file: made, opened, and set aside when it is broken."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from homing.shared.errors import HomingError

_AGAIN = 0.02
"""Seconds until a file that is busy is opened again."""
_HEADER = struct.Struct("!16s44xI4xI")
"""How a database file begins: format, user_version, application_id (sqlite.org/fileformat.html)."""
_MAGIC = b"SQLite format 3\0"


@attrs.frozen
class Kind:
    """A kind of database: how it is recognised, what is in it, and how it is used."""

    label: str
    application: int
    version: int
    parts: Mapping[str, str]
    """The statements that create its tables, indices and triggers, by name."""
    rest: tuple[str, ...]
    """What to do besides when any of them was missing."""
    synchronous: str
    """NORMAL, or FULL: a commit is on the disk when it returns."""
    busy: float
    """Seconds to wait for another process that writes."""


class Damaged(HomingError):
    """The database was broken and is set aside."""


class SqliteFile:
    """The file at the absolute `path`, which is made when it is first used.

    `check` raises HomingError when other users could have made or could replace a file.  Another
    application's database is left as it is; a broken one of ours is renamed.
    """

    def __init__(self, path: Path, kind: Kind, check: Callable[[Path], None]) -> None:
        self._path = path
        self._kind = kind
        self._check = check
        self._connection: sqlite3.Connection | None = None
        self._seen = 0, 0, 0
        """Which file the connection has open, and the version of its schema."""

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """The one connection; it is closed after a failure.

        Raises HomingError, OSError, sqlite3.Error.
        """
        try:
            yield self._current()
        except BaseException as error:
            self.close()
            if self._set_aside_if_broken(error):
                raise Damaged(f"{error}; it is set aside as {self._path.name}.broken") from error
            raise

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """The connection in a transaction, which is committed at the end."""
        with self.connected() as connection, _transaction(connection, kind):
            yield connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def is_in_place(self) -> bool:
        """Whether the file that the connection has open still is at the path, and has its schema.

        Raises OSError.
        """
        with suppress(FileNotFoundError, sqlite3.Error):
            return self._connection is not None and self._look(self._connection) == self._seen
        return False

    def _current(self) -> sqlite3.Connection:
        """The connection; a new one if the file was removed or replaced, or a table dropped."""
        if self._connection is not None:
            if self.is_in_place():
                return self._connection
            self.close()
        self._create()
        self._seen = *_identity(self._path), 0
        self._connection = self._opened()
        return self._connection

    def _look(self, connection: sqlite3.Connection) -> tuple[int, int, int]:
        (schema,) = connection.execute("PRAGMA schema_version").fetchone()
        return *_identity(self._path), schema

    def _create(self) -> None:
        """Create the file, for its owner alone; SQLite gives its other files the same mode.

        An existing file is not opened: closing it would drop the SQLite locks of all connections of
        this process.
        """
        self._check(self._path)
        with suppress(FileExistsError):
            os.close(
                os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            )
        if not stat.S_ISREG(self._path.lstat().st_mode):
            raise HomingError(f"{self._path} is not a file: remove it")
        self._check(self._path)

    def _opened(self) -> sqlite3.Connection:
        """A connection to the file, which has all its tables.

        To change the journal's mode, SQLite waits for no other connection: it is tried again.
        """
        deadline = time.monotonic() + self._kind.busy
        while True:
            try:
                return self._opened_now()
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN)

    def _opened_now(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            timeout=self._kind.busy,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            self._claim(connection)
            self._for_owner_alone()
            # Readers and the writer do not wait for each other
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._kind.synchronous}")
            self._seen = self._look(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _claim(self, connection: sqlite3.Connection) -> None:
        """Create what is missing; raises HomingError when the database is another application's."""
        with _transaction(connection, "DEFERRED"):  # reads one state, not half of another's changes
            if not self._missing(connection):
                return
        with _transaction(connection, "IMMEDIATE"):
            if not (missing := self._missing(connection)):
                return  # another process was faster
            for statement in (*(self._kind.parts[part] for part in missing), *self._kind.rest):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._kind.application}")
            connection.execute(f"PRAGMA user_version = {self._kind.version}")

    def _missing(self, connection: sqlite3.Connection) -> list[str]:
        """Which parts are missing; raises HomingError when the database cannot be ours."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        ours = (application, version) == (self._kind.application, self._kind.version)
        if not ours and (application or version or names):
            raise HomingError(f"this database is not {self._kind.label} of this version")
        return [name for name in self._kind.parts if name not in names]

    def _set_aside_if_broken(self, error: BaseException) -> bool:
        """Rename a corrupt file, if it was ours, so that a new one is made."""
        if code(error) != sqlite3.SQLITE_CORRUPT:
            return False
        with suppress(OSError):
            with self._path.open("rb") as broken:
                header = broken.read(_HEADER.size)
            expected = _MAGIC, self._kind.version, self._kind.application
            if _HEADER.unpack(header) != expected or _identity(self._path) != self._seen[:2]:
                return False  # somebody else's, or another process was faster
            for leftover in self._beside():
                leftover.unlink(missing_ok=True)
            self._path.rename(f"{self._path}.broken")
            return True
        return False

    def _for_owner_alone(self) -> None:
        for file in (self._path, *self._beside()):
            with suppress(FileNotFoundError):
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)

    def _beside(self) -> tuple[Path, Path]:
        """SQLite's own files of the database."""
        return Path(f"{self._path}-wal"), Path(f"{self._path}-shm")


def code(error: BaseException) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended code has more bits


def is_busy(error: BaseException) -> bool:
    """Whether another process was writing for too long."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explained(error: BaseException) -> str:
    """What to tell people."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    hint = ": move it away, and a new one is made" if code(error) == sqlite3.SQLITE_NOTADB else ""
    return f"{error}{hint}"


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is.  Raises OSError."""
    status = path.lstat()
    return status.st_dev, status.st_ino


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """Commits; after an error the caller closes the connection, which rolls back."""
    connection.execute(f"BEGIN {kind}")
    yield
    connection.execute("COMMIT")
