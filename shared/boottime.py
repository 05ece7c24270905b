"""Time that goes on while the machine sleeps, and that nobody can set: for leases."""

from __future__ import annotations

import time
from pathlib import Path


def boottime() -> float:
    """Seconds since the machine was started, those in suspension included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """Which start of the machine `boottime` counts from (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
