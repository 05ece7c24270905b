"""A client's connection on its way from the listening port to its server."""

from __future__ import annotations

import socket
from contextlib import suppress

import attrs

from homing.balancer.routing import NOTHING, Decision, Excluded, Reason
from homing.shared.client_hello import (
    ClientHello,
    ClientHelloReader,
    NeedMore,
    NotClientHello,
    Outcome,
)

FIRST_PEEK = 4096
"""Bytes; nearly every hello has less."""

PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


@attrs.define(eq=False)
class ClientConnection:
    """An accepted connection.  Its bytes are peeked at, not read: they are for the server."""

    socket: socket.socket
    source: str
    """The client's IP address."""
    hello: ClientHello | NotClientHello | None = None
    """None while it is incomplete, and as long as it is usual and nobody has had to read it all."""
    excluded: Excluded = NOTHING
    """The servers it does not go to."""
    admitted: bool = False
    """Whether the limits let it follow its identifier."""
    decision: Decision | None = None
    """The last one that was made about it."""
    deadline: int | None = None
    """The tick of the waiting room at which its waiting ends; None until it has to wait."""
    seen: int = 0
    """Bytes peeked so far."""
    _reader: ClientHelloReader | None = None
    _wakes_at: int = 1

    def look(self, ceiling: int) -> Outcome:
        """Look at its hello, at most `ceiling` bytes of it.

        Where more is needed, the kernel is told to report the socket readable only when enough may
        be there: else epoll would report the same bytes again and again.  Raises ConnectionError
        when the client has gone.
        """
        try:
            fresh = self._peek(ceiling)
        except BlockingIOError:
            return NeedMore(1)
        if self._reader is None:
            self._reader = ClientHelloReader(ceiling)
        outcome = self._reader.feed(fresh)
        if isinstance(outcome, NeedMore):
            self._wake_at(self.seen + outcome.at_least)
        else:
            self.hello = outcome
            self._wake_at(1)
        return outcome

    def _peek(self, ceiling: int) -> bytes:
        """What has come since the last peek, at most `ceiling` bytes in all."""
        size = FIRST_PEEK if self.seen < FIRST_PEEK <= ceiling else ceiling
        data = self.socket.recv(size, PEEK)
        if len(data) == size < ceiling:
            data = self.socket.recv(ceiling, PEEK)
        if not data:
            raise ConnectionResetError("closed without a hello")
        fresh = data[self.seen :] if self.seen else data
        self.seen = len(data)
        return fresh

    def _wake_at(self, size: int) -> None:
        """Have the kernel report it readable only when so many bytes are there."""
        if size != self._wakes_at:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._wakes_at = size

    def exclude(self, server: str, why: Reason) -> None:
        """It does not go to that server any more."""
        self.excluded = attrs.evolve(self.excluded, servers={**self.excluded.servers, server: why})

    def refuse(self, server: str, excess: Reason) -> None:
        """It follows no identifier any more, or not to that server: too many come back."""
        if excess is Reason.SOURCE_EXCESS:
            self.excluded = attrs.evolve(self.excluded, identifiers=excess)
        else:
            self.exclude(server, excess)

    def is_open(self) -> bool:
        """Whether the client can still send: neither closed nor reset (TCP_INFO, tcpi_state)."""
        established = 1
        state = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] == established

    def release(self) -> None:
        """Let go of our copy: a server has the connection now."""
        self.socket.close()

    def close(self) -> None:
        """End the connection, also if a copy of it still lies in the queue of a hung server."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
