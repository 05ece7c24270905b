"""Descriptors kept for what has been begun: who is accepted can also be brought to a server."""

from __future__ import annotations

import os
from contextlib import suppress

TO_GO_ON = 1
"""Taking over a relayed connection needs one for a moment."""
TO_CONNECT = TO_GO_ON + 1
"""Reaching a relayed server needs one for good."""
TO_ACCEPT = TO_CONNECT + 1
"""What is accepted will need these."""


class DescriptorReserve:
    """A few descriptors that are open for nothing: closing one makes room for another use."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def has(self, needed: int) -> bool:
        """Whether at least `needed` are kept, at most `TO_ACCEPT`."""
        with suppress(OSError):  # out of descriptors, or of memory
            while len(self._held) < TO_ACCEPT:
                one = os.dup(self._held[0]) if self._held else os.memfd_create("reserve")
                self._held.append(one)
        return len(self._held) >= needed

    def spend(self) -> None:
        """Make room for one descriptor, which must be opened at once."""
        if self._held:
            os.close(self._held.pop())

    def close(self) -> None:
        """Keep none any longer."""
        while self._held:
            self.spend()
