"""Files that only we can write: they are checked before they are read, and replaced as a whole.

A reader finds the old content or the new, never a part of it.  No link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from homing.server.ownership import must_be_ours
from homing.shared.errors import HomingError

_MODE = 0o600
_SAFE = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def replace(path: Path, data: bytes) -> None:
    """Write `data` to `path`, and to the disk, readable by its owner alone.

    Raises OSError; then the old content is still there, and no other file.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, _MAKE, _MODE)
        try:
            _write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def append(path: Path, entry: bytes) -> None:
    """Add `entry` to a file of entries that all have one size.  Raises HomingError, OSError.

    An incomplete last entry, which a full disk may leave, is removed first.
    """
    descriptor = opened(path, _APPEND)
    try:
        status = os.fstat(descriptor)
        if part := status.st_size % len(entry):
            os.ftruncate(descriptor, status.st_size - part)
        _write(descriptor, entry)
    finally:
        os.close(descriptor)


def opened(path: Path, flags: int, links: bool = False, or_roots: bool = False) -> int:
    """The descriptor of a file that is ours and that nobody else can write; `flags` may create it.

    With `links`, links are followed; with `or_roots`, it may belong to root.  Raises OSError, and
    HomingError that says what to do when somebody else owns it or can write it.
    """
    try:
        descriptor = os.open(path, flags | _SAFE | (0 if links else os.O_NOFOLLOW), _MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise HomingError(f"{path} is a symbolic link: put the file itself there") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise HomingError(f"{path} is not a file: remove it")
        must_be_ours(path, status, or_roots)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_socket(path: Path) -> None:
    """Remove the socket at `path`, if there is one, and nothing else."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def read(path: Path, secret: bool = False) -> bytes:
    """What `path` holds, if only we can write it, and only we can read it when it is `secret`.

    Raises OSError, and HomingError that says what to do when others can.
    """
    with open(opened(path, os.O_RDONLY), "rb") as file:
        if secret and os.fstat(file.fileno()).st_mode & 0o077:
            raise HomingError(f"{path} can be read by others: chmod 600 it")
        return file.read()


def read_key(path: Path) -> bytes:
    """What `path` holds; links are followed, and it may belong to root.

    Raises OSError, and HomingError when others could write it.
    """
    with open(opened(path, os.O_RDONLY, links=True, or_roots=True), "rb") as file:
        return file.read()


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
