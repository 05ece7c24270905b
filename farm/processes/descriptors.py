"""The descriptors of a process: as many as it may have, and none that its children should not."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from homing.farm.config.faults import CannotStart

_STANDARD = 2
_BASE = 32
"""Descriptors that any of our processes has for itself, and some to spare."""
_A_CHILD = 6
"""Pipes to one child, and what starting it takes."""


def allow_many() -> None:
    """Raise the soft limit of open files to the hard one: every connection takes one or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_to_ourselves() -> None:
    """Have what we inherited closed in our children.

    Without it, starting one fails when the number of a descriptor is above the limit of open files:
    posix_spawn is then told to close what the kernel says cannot be.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > _STANDARD:
            with suppress(OSError):  # the one that listed the folder
                os.set_inheritable(int(name), False)


def enough_for(children: int, who: str) -> None:
    """Raises CannotStart when `who` cannot start, with so many children to watch."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _BASE + _A_CHILD * children
    if soft < needed:
        raise CannotStart(
            f"only {soft} open files are allowed, and {who} needs "
            f"{needed}: raise the limit (ulimit -n, or LimitNOFILE= in a systemd unit)"
        )
