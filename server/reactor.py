"""What a server needs of the reactor."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)


class ServerReactor(
    IReactorCore, IReactorFDSet, IReactorFromThreads, IReactorTCP, IReactorTime, IReactorUNIX
):
    """Sockets of all kinds, time, and a way back from threads."""
