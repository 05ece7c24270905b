"""Folders, files and sockets that are ours: no other user made them or can replace them.

Whoever may write a folder's parent can replace the folder.  So the whole path from the root is
checked, as sshd does for a user's keys.  Where anybody may write, as in /tmp, the sticky bit must
keep others from renaming, and the next step of the path must be ours or root's.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from homing.shared.errors import HomingError

_MOST_LINKS = 40  # as many as the kernel follows
_ROOT = 0


def owned_folder(path: Path, make: bool = True) -> None:
    """Check that the folder `path` is ours, and that nobody else can change or replace it.

    With `make`, missing folders are made, for us alone.  Raises HomingError, OSError.
    """
    status = _end_of_way(path, make)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    must_be_ours(path, status)


def safe_way(path: Path) -> None:
    """Check that nobody else made or can replace what is, or will be, at `path`.

    Raises HomingError, OSError.
    """
    _end_of_way(path, make=False)


def must_be_ours_if_there(path: Path) -> None:
    """As `safe_way`; what is at `path` must be ours, too.  Raises HomingError, OSError."""
    safe_way(path)
    with suppress(FileNotFoundError):
        must_be_ours(path, path.lstat())


def must_be_ours(path: Path, status: os.stat_result, or_roots: bool = False) -> None:
    """Raises HomingError when the file of `status` is another user's, or others can write it."""
    ours = (os.geteuid(), _ROOT) if or_roots else (os.geteuid(),)
    if status.st_uid not in ours:
        raise HomingError(
            f"{path} belongs to {user(status.st_uid)}, and this process is {user(os.geteuid())}'s: "
            "use it as its owner, chown it after a look at what is in it, or choose another place"
        )
    if _others_may_write(status):
        raise HomingError(
            f"{path} can be written by others (mode {_mode(status)}): look at what is in it, then "
            f"chmod go-w {path}"
        )


def strangers(path: Path) -> list[str]:
    """Warnings: one for each parent of `path` that belongs neither to us nor to root."""
    try:
        return [
            f"{path} can be replaced by {user(status.st_uid)}, to whom {folder} belongs"
            for folder, status in _way(path.absolute().parent, make=False)
            if status and stat.S_ISDIR(status.st_mode) and not _is_trusted(status)
        ]
    except OSError:
        return []  # whoever uses the path will say so


def user(number: int) -> str:
    """The name of a user, or the number if there is no name."""
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"user {number}"


def _end_of_way(path: Path, make: bool) -> os.stat_result | None:
    """What is at `path`, after a check of the whole path; None for nothing."""
    status = None
    for step, status in _way(path.absolute(), make):
        _must_be_safe(step.parent)
        if status is None or _is_trusted(status):
            continue
        if stat.S_ISLNK(status.st_mode) or _others_may_write(step.parent.lstat()):
            raise HomingError(
                f"{step} was made by {user(status.st_uid)}: remove it, or choose another place"
            )
    return status


def _way(path: Path, make: bool) -> Iterator[tuple[Path, os.stat_result | None]]:
    """Every folder and link from the root to the absolute `path`, as the kernel walks it.

    Ends with None where something is missing, unless `make`.
    """
    here, links = Path(path.root), 0
    parts = list(reversed(path.parts[1:]))
    while parts:
        part = parts.pop()
        here = here.parent if part == ".." else here / part
        status = _status(here, make)
        yield here, status
        if status is None:
            return
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            parts.extend(reversed(Path(os.readlink(here)).parts))
            here = here.parent


def _status(path: Path, make: bool) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return path.lstat()
    if not make:
        return None
    _must_be_safe(path.parent)
    with suppress(FileExistsError):  # another process was faster
        path.mkdir(mode=0o700)
    return path.lstat()


def _must_be_safe(folder: Path) -> None:
    """Raises HomingError when others can rename what is in `folder`, which is not a link."""
    status = folder.lstat()
    if _others_may_write(status) and not status.st_mode & stat.S_ISVTX:
        raise HomingError(
            f"{folder} can be written by others (mode {_mode(status)}), who could replace what is "
            f"in it: chmod go-w {folder}, or choose another place"
        )


def _is_trusted(status: os.stat_result) -> bool:
    return status.st_uid in (os.geteuid(), _ROOT)


def _others_may_write(status: os.stat_result) -> bool:
    """Whether anybody but the owner may write; a link has no mode of its own."""
    if stat.S_ISLNK(status.st_mode):
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private(status.st_gid, status.st_uid)


def _is_private(group: int, owner: int) -> bool:
    """Whether `group` is the private group of the user `owner`, as many systems make them."""
    try:
        one, its = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(its.gr_mem) <= {one.pw_name}
    return one.pw_gid == group and its.gr_name == one.pw_name and alone


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):o}"
