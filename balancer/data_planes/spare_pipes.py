"""Pipes of the kernel, through which `splice` moves bulk without a copy in this process."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

import attrs

from homing.balancer.descriptor_reserve import TO_ACCEPT, DescriptorReserve

SIZE = 1 << 20
"""Bytes that a pipe takes, of the kernel's memory.

Measured on loopback, CPU of this process a GB: 523 ms with the usual 64 KB, 403 with 256 KB, 317
with 512 KB, 243 with 1 MB; 443 for HAProxy's splice, 535 copied.
"""

MOST = 32
"""Pipes in use at once: what flows beyond that is copied."""

_MOST_SPARE = 8


@attrs.frozen(eq=False)
class KernelPipe:
    """Two descriptors."""

    reads: int
    writes: int

    def close(self) -> None:
        """Close it, with whatever is in it."""
        os.close(self.reads)
        os.close(self.writes)


class SparePipes:
    """Lends pipes to whom bulk flows through."""

    def __init__(self, reserve: DescriptorReserve) -> None:
        self._reserve = reserve
        self._spare: list[KernelPipe] = []
        self._lent = 0

    def take(self) -> KernelPipe | None:
        """An empty one; None when they, or the descriptors that new connections need, run out."""
        if self._spare:
            pipe = self._spare.pop()
        elif self._lent >= MOST or not self._reserve.has(TO_ACCEPT):
            return None
        else:
            try:
                pipe = KernelPipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError:
                return None
            with suppress(OSError):  # more than a user may have: it stays as small as it is
                fcntl.fcntl(pipe.writes, fcntl.F_SETPIPE_SZ, SIZE)
        self._lent += 1
        return pipe

    def give_back(self, pipe: KernelPipe, is_empty: bool) -> None:
        """It is not needed any more."""
        self._lent -= 1
        if is_empty and len(self._spare) < _MOST_SPARE:
            self._spare.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close those that nobody has."""
        while self._spare:
            self._spare.pop().close()
