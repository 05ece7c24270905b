"""Files of ours alone: read only when nobody else wrote them, and replaced as a whole.

Whoever reads one that is replaced finds the old or the new, never a part.  No link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from server.ownership import must_be_ours
from shared.errors import HomingError

_ALL = 0o600
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
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
    descriptor = os.open(path, _APPEND, _ALL)
    try:
        status = _ours(path, descriptor)
        if part := status.st_size % len(entry):
            os.ftruncate(descriptor, status.st_size - part)
        _write(descriptor, entry)
    finally:
        os.close(descriptor)


def read(path: Path, secret: bool = False) -> bytes:
    """What `path` holds, a file of ours that nobody else can write, or read when it is `secret`.

    Raises HomingError that says what to do about it when it is not; OSError.
    """
    return _read(path, os.O_NOFOLLOW, secret, or_roots=False)


def read_key(path: Path) -> bytes:
    """What `path` holds, where links may lead to it, and it may be root's.

    Raises HomingError when others could write it, OSError.
    """
    return _read(path, 0, secret=False, or_roots=True)


def _read(path: Path, flags: int, secret: bool, or_roots: bool) -> bytes:
    try:
        descriptor = os.open(path, _READ | flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise HomingError(f"{path} is a symbolic link: put the file itself there") from error
        raise
    try:
        status = _ours(path, descriptor, or_roots)
        if secret and status.st_mode & 0o077:
            raise HomingError(f"{path} can be read by others: chmod 600 it")
        parts = []
        while part := os.read(descriptor, _BLOCK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _ours(path: Path, descriptor: int, or_roots: bool = False) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise HomingError(f"{path} is not a file: remove it")
    must_be_ours(path, status, or_roots)
    return status


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
