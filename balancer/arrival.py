"""A connection on its way from the listening port to its server."""

from __future__ import annotations

import socket
from contextlib import suppress

import attrs

from homing.balancer.routing import Decision, Reason
from homing.shared.client_hello import ClientHello, ClientHelloReader, NotClientHello

_FIRST_PEEK = 4096


@attrs.define(eq=False)
class Arrival:
    """An accepted connection.  Nothing of it is read, only peeked, until a server has it."""

    socket: socket.socket
    source: str
    """The client's IP address."""
    hello: ClientHello | NotClientHello | None = None
    """None while the hello is incomplete."""
    tried: dict[str, Reason] = attrs.field(factory=dict)
    """Servers that it does not go to, and why."""
    unfollowed: Reason | None = None
    """Why its identifiers are not followed, where they are not."""
    admitted: bool = False
    """Whether the limits let it follow its identifier."""
    decision: Decision | None = None
    """The last one."""
    patience: int | None = None
    """How often it can still be tried again, once it has had to wait for a server."""
    seen: int = 0
    """Bytes peeked so far."""
    _reader: ClientHelloReader | None = None

    def peek(self, ceiling: int) -> bytes:
        """What has come since the last peek, at most `ceiling` bytes in all.

        Raises BlockingIOError when nothing has come at all, ConnectionError when the client has
        gone.
        """
        size = _FIRST_PEEK if self.seen < _FIRST_PEEK <= ceiling else ceiling
        data = self.socket.recv(size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if len(data) == size < ceiling:
            data = self.socket.recv(ceiling, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if not data:
            raise ConnectionResetError("closed without a hello")
        fresh = data[self.seen :] if self.seen else data
        self.seen = len(data)
        return fresh

    def reader(self, ceiling: int) -> ClientHelloReader:
        """The reader of its hello."""
        if self._reader is None:
            self._reader = ClientHelloReader(ceiling)
        return self._reader

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
