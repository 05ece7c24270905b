"""What the machine gives us: open files, which children must not inherit, and cores."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from homing.farm.config.faults import CannotStart

_STANDARD = 2
_BASE = 32
"""Descriptors that each of our processes needs for itself, and some to spare."""
_A_CHILD = 6
"""Pipes to one child, and what starting it takes."""


def allow_many() -> None:
    """Raise the soft limit of open files to the hard one: every connection takes one or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def usable_cores() -> int:
    """The cores that this process may use: its CPU affinity."""
    return len(os.sched_getaffinity(0))


def keep_to_ourselves() -> None:
    """Mark the descriptors that we inherited as not inherited by our children.

    Otherwise a child cannot be started when one of their numbers is above the limit of open files:
    posix_spawn is told to close it, and the kernel refuses.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > _STANDARD:
            with suppress(OSError):  # the one that listed the folder
                os.set_inheritable(int(name), False)


def enough_for(children: int, who: str) -> None:
    """Raises CannotStart when `who`, with so many children, needs more files than are allowed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _BASE + _A_CHILD * children
    if soft < needed:
        raise CannotStart(
            f"only {soft} open files are allowed, and {who} needs "
            f"{needed}: raise the limit (ulimit -n, or LimitNOFILE= in a systemd unit)"
        )
