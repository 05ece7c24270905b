"""CPU time and memory, as Linux' /proc tells them: of processes, and of the whole machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_IDLE = (3, 4)
"""Fields of /proc/stat's first line that are no work: idle and iowait (proc(5))."""
_GUEST = 8
"""From this field on, what is counted elsewhere in the line already."""


def cpu_of(pids: Iterable[int]) -> float:
    """Seconds, user and system, that these processes and their descendants have used.

    In nanoseconds, from schedstat: `stat` counts in ticks of 10 ms.  Threads and children that
    are over do not count, so measure while they live.
    """
    return sum(_nanoseconds(pid) for pid in _family(pids)) / 1e9


def machine_cpu() -> float:
    """Seconds that all cores have worked: for whomever, interrupts and softirqs included."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    ticks = sum(int(each) for at, each in enumerate(fields[:_GUEST]) if at not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(pids: Iterable[int]) -> int:
    """Bytes that these processes and their descendants hold and share with nobody (USS)."""
    return sum(_private(pid) for pid in _family(pids))


def _family(pids: Iterable[int]) -> set[int]:
    """These processes and all below them."""
    found: set[int] = set()
    ahead = list(pids)
    while ahead:
        pid = ahead.pop()
        if pid not in found:
            found.add(pid)
            ahead += _children(pid)
    return found


def _children(pid: int) -> Iterator[int]:
    for task in _tasks(pid):
        with suppress(OSError):
            yield from map(int, (task / "children").read_text().split())


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list((_PROC / str(pid) / "task").iterdir())
    return []


def _nanoseconds(pid: int) -> int:
    used = 0
    for task in _tasks(pid):
        with suppress(OSError):
            used += int((task / "schedstat").read_text().split()[0])
    return used


def _private(pid: int) -> int:
    text = (_PROC / str(pid) / "smaps_rollup").read_text()
    lines = (line.split() for line in text.splitlines())
    return 1024 * sum(int(line[1]) for line in lines if line[0].startswith("Private_"))
