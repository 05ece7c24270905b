"""An application that notes what its transport does, and a client of it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.server.groups.group import Group
from tests.reactor import WITHIN, call, eventually
from tests.server.running import tls_port
from tests.tls import shake_hands


@implementer(IHandshakeListener)
class Recorder(Protocol):
    """Notes what is called, in order; what is received is gathered."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = b""
        self.lost: Failure | None = None

    @property
    def wire(self) -> Any:
        """Its transport."""
        return self.transport

    def connectionMade(self) -> None:
        self.events.append("made")

    def handshakeCompleted(self) -> None:
        """After the handshake."""
        self.events.append("handshake")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """It outlives the end of either direction."""

    def readConnectionLost(self) -> None:
        """Nothing more comes."""
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        """Nothing more can be sent."""
        self.events.append("write lost")


@implementer(IProtocolNegotiationFactory)
class Recorders(Factory):
    """Keeps what it has made."""

    noisy = False

    def __init__(self, kind: type[Recorder] = Recorder) -> None:
        self._kind = kind
        self.made: list[Any] = []

    def acceptableProtocols(self) -> list[bytes]:
        """For ALPN, the best first."""
        return [b"new", b"old"]

    def buildProtocol(self, addr: object) -> Recorder:
        recorder = self._kind()
        self.made.append(recorder)
        return recorder


@contextmanager
def recorded(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    kind: type[Recorder] = Recorder,
    group: Group | None = None,
    **more: Any,
) -> Iterator[tuple[Any, ssl.SSLSocket]]:
    """The application's end of one connection after the handshake, and the client's."""
    made = Recorders(kind)
    with tls_port(made, group, **more) as (_, port):
        plain = socket.create_connection(("127.0.0.1", port), WITHIN)
        with shake_hands(plain, version) as client:
            eventually(lambda: made.made and "handshake" in made.made[0].events)
            yield made.made[0], client


def finished(recorder: Recorder) -> type[BaseException]:
    """Why its connection was lost."""
    eventually(lambda: recorder.lost is not None, "it was told that its connection is lost")
    assert recorder.lost is not None
    assert recorder.lost.type is not None
    assert call(lambda: recorder.events.count("lost")) == 1
    return recorder.lost.type


def raw(client: ssl.SSLSocket) -> Any:
    """The same, such that an end without close_notify raises an error."""
    anyhow: Any = client
    anyhow.suppress_ragged_eofs = False
    return anyhow
