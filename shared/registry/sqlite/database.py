"""The blocking half of the registry in SQLite: every call is one transaction of the database."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from homing.shared.boottime import boot, boottime
from homing.shared.errors import HomingError
from homing.shared.registry.interface import (
    Batch,
    Item,
    LeaseLost,
    Refused,
    RegistryError,
    Transaction,
    Unavailable,
    check_limits,
)
from homing.shared.sqlite_file import Damaged, Kind, SqliteFile, code, explained

KEPT = 10_000
"""Revisions after which a deletion is forgotten; who has not seen it by then reads all."""

BUSY = 4.0
"""Seconds to wait for other processes that write."""

_KIND = Kind(
    "a registry",
    application=0x484F4D52,
    version=1,
    parts={
        "state": "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), "
        "name TEXT NOT NULL, revision INTEGER NOT NULL, forgotten INTEGER NOT NULL)",
        "items": "CREATE TABLE items (key TEXT PRIMARY KEY, value BLOB NOT NULL, "
        "revision INTEGER NOT NULL, lease INTEGER NOT NULL)",
        "items_by_revision": "CREATE INDEX items_by_revision ON items (revision)",
        "items_by_lease": "CREATE INDEX items_by_lease ON items (lease)",
        "deleted": "CREATE TABLE deleted (key TEXT PRIMARY KEY, revision INTEGER NOT NULL)",
        "deleted_by_revision": "CREATE INDEX deleted_by_revision ON deleted (revision)",
        "leases": "CREATE TABLE leases (id INTEGER PRIMARY KEY, seconds REAL NOT NULL, "
        "ends REAL NOT NULL, boot TEXT NOT NULL)",
    },
    # What was there before may be lost, so all is new: a name of its own tells followers, and
    # revisions begin where none before them can have come, with milliseconds since 1970
    rest=(
        "INSERT OR REPLACE INTO state "
        "SELECT 1, lower(hex(randomblob(8))), revision, revision FROM (SELECT "
        "max(coalesce(max(revision), 0) + 1, "
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) "
        "AS revision FROM (SELECT revision FROM items UNION ALL SELECT revision FROM state))",
    ),
    synchronous="FULL",
    busy=BUSY,
)

_ITEMS = "SELECT key, CAST(value AS BLOB), revision, lease FROM items WHERE revision > ?"
_OVER = "FROM leases WHERE ends <= ? OR boot <> ?"

_TICK = 50_000_000
"""Nanoseconds; the kernel's are shorter."""

_FOR_PEOPLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_FOR_PEOPLE_IN_SQLITE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_AUTH,
}
"""Errors that stay until somebody changes something."""

Seen = tuple[str, int]
"""Which registry a follower has seen, and up to which revision."""
NOTHING: Seen = ("", 0)


class SetAside(Unavailable):
    """The file was broken; the registry begins empty."""


class Database:
    """As `Registry`, but every call blocks; `changes` gives what followers are told.

    `check` is that of `SqliteFile`.  `now` gives seconds that never jump and go on in suspension;
    `since_boot` names what they count from: leases of another are over.
    """

    def __init__(
        self,
        path: Path,
        check: Callable[[Path], None],
        now: Callable[[], float] = boottime,
        since_boot: str | None = None,
        kept: int = KEPT,
    ) -> None:
        self.label = f"sqlite:{path}"
        self._file = SqliteFile(path, _KIND, check)
        self._log = f"{path}-wal"
        self._now = now
        self._boot = boot() if since_boot is None else since_boot
        self._kept = kept

    def commit(self, transaction: Transaction) -> int | None:
        """As `Registry.commit`."""
        check_limits(transaction)
        with self._write() as connection:
            if not all(
                _revision_of(connection, key) == revision
                for key, revision in transaction.expected.items()
            ):
                return None
            if not transaction.lease or _is_lease(connection, transaction.lease):
                return self._change(
                    connection, transaction.puts, transaction.deletes, transaction.lease
                )
        raise LeaseLost("the lease has ended")

    def grant(self, seconds: float) -> int:
        """As `Registry.grant`."""
        lease = 1 + secrets.randbits(62)  # not that of a file which was here before
        with self._write() as connection:
            row = lease, seconds, self._now() + seconds, self._boot
            connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?)", row)
        return lease

    def renew(self, lease: int) -> None:
        """As `Registry.renew`."""
        with self._write() as connection:
            renewed = connection.execute(
                "UPDATE leases SET ends = ? + seconds WHERE id = ?", (self._now(), lease)
            ).rowcount
        if not renewed:
            raise LeaseLost("the lease has ended")

    def revoke(self, lease: int) -> None:
        """As `Registry.revoke`."""
        with self._write() as connection:
            self._end(connection, lease)

    def read(self) -> Batch:
        """As `Registry.read`."""
        self.expire()
        with self._transaction("DEFERRED") as connection:
            _, revision, _ = _state(connection)
            return _whole(connection, revision)

    def changes(self, seen: Seen) -> tuple[Seen, Batch] | None:
        """What a follower has not seen, and what it has seen then; None for nothing."""
        name, since = seen
        with self._transaction("DEFERRED") as connection:
            now_named, revision, forgotten = _state(connection)
            if now_named != name or not forgotten <= since <= revision:
                return (now_named, revision), _whole(connection, revision)
            if since == revision:
                return None
            deleted = connection.execute("SELECT key FROM deleted WHERE revision > ?", (since,))
            deletes = frozenset(key for (key,) in deleted)
            return (name, revision), Batch(revision, _items(connection, since), deletes)

    def written(self) -> tuple[int, int, int] | None:
        """What changes with every commit of anybody; None where that cannot be told.

        The time of a file is that of a tick, a few milliseconds long: within it, more may follow.
        """
        try:
            log = os.stat(self._log)
        except OSError:
            return None
        if abs(time.time_ns() - log.st_mtime_ns) < _TICK:
            return None
        return log.st_ino, log.st_size, log.st_mtime_ns

    def begin_anew(self) -> None:
        """Forget all there is; followers are told of an empty registry."""
        with self._write() as connection:
            for statement in ("DELETE FROM items", "DELETE FROM deleted", *_KIND.rest):
                connection.execute(statement)

    def expire(self) -> None:
        """End the leases whose time is over; somebody must call this now and then."""
        with self._translated(), self._file.connected() as connection:
            over = connection.execute(f"SELECT 1 {_OVER}", (self._now(), self._boot)).fetchone()
        if over:
            with self._write():
                pass  # has ended them

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        self._file.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which leases that are over have ended."""
        with self._transaction("IMMEDIATE") as connection:
            over = connection.execute(f"SELECT id {_OVER}", (self._now(), self._boot)).fetchall()
            for (lease,) in over:
                self._end(connection, lease)
            yield connection
        with self._translated():
            if not self._file.is_in_place():  # a commit to a file that was removed is lost
                raise Unavailable("its file was removed or replaced meanwhile")

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        with self._translated(), self._file.transaction(kind) as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RegistryError:
            raise
        except (sqlite3.Error, OSError, HomingError) as error:
            raise _failure(error) from error

    def _end(self, connection: sqlite3.Connection, lease: int) -> None:
        connection.execute("DELETE FROM leases WHERE id = ?", (lease,))
        tied = connection.execute("SELECT key FROM items WHERE lease = ?", (lease,))
        self._change(connection, {}, frozenset(key for (key,) in tied))

    def _change(
        self,
        connection: sqlite3.Connection,
        puts: Mapping[str, bytes],
        deletes: frozenset[str],
        lease: int = 0,
    ) -> int:
        """Put and delete at the next revision, which is returned; the last one for no change."""
        _, last, _ = _state(connection)
        revision = last + 1
        gone = [key for key in deletes if _revision_of(connection, key)]
        if not puts and not gone:
            return last
        keys = [(key,) for key in gone]
        connection.executemany("DELETE FROM items WHERE key = ?", keys)
        connection.executemany(
            "INSERT OR REPLACE INTO deleted VALUES (?, ?)", [(key, revision) for key in gone]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)",
            [(key, value, revision, lease) for key, value in puts.items()],
        )
        connection.executemany("DELETE FROM deleted WHERE key = ?", [(key,) for key in puts])
        self._forget(connection, revision - self._kept)
        connection.execute("UPDATE state SET revision = ?", (revision,))
        return revision

    def _forget(self, connection: sqlite3.Connection, up_to: int) -> None:
        if connection.execute("DELETE FROM deleted WHERE revision <= ?", (up_to,)).rowcount:
            connection.execute("UPDATE state SET forgotten = ?", (up_to,))


def _state(connection: sqlite3.Connection) -> tuple[str, int, int]:
    """The registry's name, its revision, and that before which deletions are forgotten."""
    row = connection.execute("SELECT name, revision, forgotten FROM state").fetchone()
    if row is None:
        raise sqlite3.DataError("its table state is empty")
    name, revision, forgotten = row
    return name, revision, forgotten


def _whole(connection: sqlite3.Connection, revision: int) -> Batch:
    return Batch(revision, _items(connection, -1), is_whole=True)


def _items(connection: sqlite3.Connection, since: int) -> dict[str, Item]:
    return {key: Item(*its) for key, *its in connection.execute(_ITEMS, (since,))}


def _revision_of(connection: sqlite3.Connection, key: str) -> int:
    row = connection.execute("SELECT revision FROM items WHERE key = ?", (key,)).fetchone()
    return row[0] if row else 0


def _is_lease(connection: sqlite3.Connection, lease: int) -> bool:
    return bool(connection.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone())


def _failure(error: sqlite3.Error | OSError | HomingError) -> RegistryError:
    text = explained(error)
    if isinstance(error, Damaged):
        return SetAside(text)
    stays = isinstance(error, HomingError) or code(error) in _FOR_PEOPLE_IN_SQLITE
    if isinstance(error, OSError):
        stays = error.errno in _FOR_PEOPLE
    return Refused(text) if stays else Unavailable(text)
