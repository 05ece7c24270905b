"""Clients that send what real ones hardly do, and a group whose store takes its time."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from functools import cache
from typing import Any
from unittest.mock import patch

from OpenSSL import SSL
from twisted.internet.defer import Deferred

from homing.server.openssl import functions
from tests.reactor import WITHIN, reactor
from tests.tls import client_in_memory


class ByHand:
    """A client after its handshake, whose records go out, many at once, when it is told to."""

    def __init__(
        self, port: int, version: int = ssl.TLSVersion.TLSv1_3, room: int | None = None
    ) -> None:
        self.plain = socket.socket()
        self.plain.settimeout(WITHIN)
        if room is not None:
            self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.plain.connect(("127.0.0.1", port))
        self.tls = SSL.Connection(client_in_memory(version), None)
        self.tls.set_connect_state()
        while True:
            try:
                self.tls.do_handshake()
                break
            except SSL.WantReadError:
                self.flush()
                self.tls.bio_write(self.plain.recv(1 << 16))

    def __enter__(self) -> ByHand:
        return self

    def __exit__(self, *exception: object) -> None:
        self.plain.close()

    def unsent(self) -> bytes:
        """What is to be sent, taken from it."""
        unsent = b""
        with suppress(SSL.WantReadError):
            while True:
                unsent += self.tls.bio_read(1 << 20)
        return unsent

    def flush(self) -> None:
        """Send it."""
        self.plain.sendall(self.unsent())

    def write(self, data: bytes, times: int = 1) -> ByHand:
        """Make records of it."""
        for _ in range(times):
            self.tls.send(data)
        return self

    def update_keys(self, times: int = 1, *, asks: bool = False) -> ByHand:
        """Make KeyUpdates; one that asks is to be answered with another."""
        for _ in range(times):
            assert _key_update()(self.tls._ssl, int(asks)) == 1
            self.tls.do_handshake()
        return self

    def goodbye(self) -> ByHand:
        """Make a close_notify."""
        self.tls.shutdown()
        return self

    def read(self, count: int) -> bytes:
        """So many bytes, or what comes before the end."""
        data = bytearray()
        while len(data) < count:
            try:
                data += self.tls.recv(1 << 16)
            except SSL.WantReadError:
                self.flush()
                more = self.plain.recv(1 << 16)
                if not more:
                    break
                self.tls.bio_write(more)
        return bytes(data)


@cache
def _key_update() -> Any:
    with patch.dict(functions._PROTOTYPES, {"SSL_key_update": "int(*)(SSL *, int)"}):
        return functions.openssl.__wrapped__().SSL_key_update


class SlowGroup:
    """It knows no session; to keep one takes `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self._delay = delay

    def wanted(self, brought: object) -> tuple[()]:
        """Nothing."""
        return ()

    def share(self, identifier: bytes, session: bytes) -> Deferred[None]:
        """Fires when it is kept."""
        kept: Deferred[None] = Deferred()
        reactor().callLater(self._delay, kept.callback, None)
        return kept
