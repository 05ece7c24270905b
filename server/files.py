"""Files of ours alone: read only when nobody else wrote them, and replaced as a whole.

Whoever reads one that is replaced finds the old or the new, never a part.  No link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from homing.server.ownership import must_be_ours
from homing.shared.errors import HomingError

_ALL = 0o600
_SAFE = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_BLOCK = 1 << 20


def replace(path: Path, data: bytes) -> None:
    """Have `path` hold `data`, on the disk and for its owner alone.

    Raises OSError; then what was there is there still, and nothing else.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, _MAKE, _ALL)
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
    """Add `entry` to a file of entries of one size.  Raises HomingError, OSError.

    Part of one, for which the disk was too full, is removed.
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
    """The descriptor of a file of ours that nobody else can write, made if `flags` say so.

    Links may lead to it, if `links`, and it may be root's, if `or_roots`.  Raises HomingError that
    says what to do about it when it is not; OSError.
    """
    try:
        descriptor = os.open(path, flags | _SAFE | (0 if links else os.O_NOFOLLOW), _ALL)
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
    """Remove the socket at `path`, if there is one; anything else is left alone."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def read(path: Path, secret: bool = False) -> bytes:
    """What `path` holds, a file of ours that nobody else can write, or read when it is `secret`.

    Raises HomingError that says what to do about it when it is not; OSError.
    """
    return _all(path, opened(path, os.O_RDONLY), secret)


def read_key(path: Path) -> bytes:
    """What `path` holds, where links may lead to it, and it may be root's.

    Raises HomingError when others could write it, OSError.
    """
    return _all(path, opened(path, os.O_RDONLY, links=True, or_roots=True))


def _all(path: Path, descriptor: int, secret: bool = False) -> bytes:
    try:
        if secret and os.fstat(descriptor).st_mode & 0o077:
            raise HomingError(f"{path} can be read by others: chmod 600 it")
        parts = []
        while part := os.read(descriptor, _BLOCK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
