"""Sessions in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from homing.server.groups.store.base import StoreBusy, StoreFailure
from homing.server.ownership import must_be_ours_if_there
from homing.shared.errors import HomingError
from homing.shared.sqlite_file import Kind, SqliteFile, explained, is_busy

LARGEST = 100_000
"""Sessions at most; those that expire first go first."""

SWEEP = 16
"""Rows that one put removes at most; it adds one, so the file cannot grow for ever."""

_KIND = Kind(
    "a session store",
    application=0x484F4D45,
    version=1,
    parts={
        "sessions": "CREATE TABLE sessions "
        "(name BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL)",
        "sessions_by_expiry": "CREATE INDEX sessions_by_expiry ON sessions (expires)",
        # Counting the rows would take longer the more there are
        "size": "CREATE TABLE size (sessions INTEGER NOT NULL)",
        "one_more": "CREATE TRIGGER one_more AFTER INSERT ON sessions "
        "BEGIN UPDATE size SET sessions = sessions + 1; END",
        "one_less": "CREATE TRIGGER one_less AFTER DELETE ON sessions "
        "BEGIN UPDATE size SET sessions = sessions - 1; END",
    },
    rest=("DELETE FROM size", "INSERT INTO size SELECT count(*) FROM sessions"),
    synchronous="NORMAL",  # a commit does not wait for the disk
    busy=0.2,
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
    """Keeps sessions in the file at the absolute `path`, which is made when it is first needed.

    Another application's database is left as it is; a broken one of ours is set aside: its sessions
    are lost, which costs full handshakes.
    """

    threads = 1  # SQLite lets one write at a time anyway

    def __init__(
        self, path: Path, largest: int = LARGEST, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._file = SqliteFile(path, _KIND, must_be_ours_if_there)
        self._largest = largest
        self._now = now

    @property
    def label(self) -> str:
        return f"sqlite:{self._path}"

    def get(self, name: bytes) -> bytes | None:
        with _translated(), self._file.connected() as connection:
            row = connection.execute(_GET, (name, self._now())).fetchone()
        return row[0] if row else None

    def put(self, name: bytes, value: bytes, lifetime: float) -> None:
        now = self._now()
        with _translated(), self._file.transaction() as connection:
            connection.execute(_PUT, (name, value, now + lifetime))
            self._sweep(connection, now)

    def probe(self) -> None:
        with _translated(), self._file.transaction() as connection:
            self._sweep(connection, self._now())

    def close(self) -> None:
        self._file.close()

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(_REMOVE_EXPIRED, (now, SWEEP))
        (count,) = connection.execute("SELECT sessions FROM size").fetchone()
        if count > self._largest:
            connection.execute(_REMOVE_NEXT, (min(count - self._largest, SWEEP),))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, HomingError) as error:
        raise (StoreBusy if is_busy(error) else StoreFailure)(explained(error)) from error
