"""Descriptors in reserve, so that every connection that is accepted can also reach a server."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

TO_CONNECT = 2
"""A relayed connection needs one to its server, and for a moment a copy of its client's."""
TO_ACCEPT = 1 + TO_CONNECT
"""A client needs one, and what relaying it needs."""

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class DescriptorReserve:
    """A few descriptors that are open and unused: closing one makes room for another."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def has(self, needed: int) -> bool:
        """Fill the reserve up to `TO_ACCEPT` descriptors; whether `needed` are there."""
        if len(self._held) == TO_ACCEPT:
            return True
        with suppress(OSError):  # out of descriptors, or of memory
            while len(self._held) < TO_ACCEPT:
                one = os.dup(self._held[0]) if self._held else os.memfd_create("reserve")
                self._held.append(one)
        return len(self._held) >= needed

    def spend(self) -> None:
        """Close one, to make room for a descriptor that must be opened at once."""
        if self._held:
            os.close(self._held.pop())

    def close(self) -> None:
        """Close all."""
        while self._held:
            self.spend()
