"""What flows: what Twisted's tests ask of a TLS transport and consumer is asked of ours."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    INegotiated,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITransport,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from homing.server.service import TCPAddress
from tests.reactor import HOST, WITHIN, call, eventually
from tests.server.running import free_port, serving, tls_port
from tests.server.tls.recording import Recorder, Recorders, finished, recorded
from tests.tls import VERSIONS, client_context, client_hello, read_all, read_exactly

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
BODY = bytes(range(256)) * (1 << 13)  # 2 MB


@BOTH
def test_an_application_finds_the_transport_that_twisteds_tls_gives_it(
    version: ssl.TLSVersion,
) -> None:
    with recorded(version) as (app, client):
        assert call(lambda: list(app.events)) == ["made", "handshake"]
        for each in (INegotiated, ISSLTransport, ITCPTransport, ITransport, IConsumer):
            assert verifyObject(each, app.wire)
        provides: bool = ISystemHandle.providedBy(app.wire)
        assert provides
        assert isinstance(app.wire.getHandle(), SSL.Connection)
        assert app.wire.getPeerCertificate() is None
        assert app.wire.negotiatedProtocol is None
        assert (app.wire.getPeer().host, app.wire.getPeer().port) == client.getsockname()
        assert (app.wire.getHost().host, app.wire.getHost().port) == client.getpeername()
        for turn in (False, True):
            call(lambda turn=turn: (app.wire.setTcpNoDelay(turn), app.wire.setTcpKeepAlive(turn)))
            assert (app.wire.getTcpNoDelay(), app.wire.getTcpKeepAlive()) == (turn, turn)


def test_the_best_protocol_of_the_application_that_its_client_offers_is_negotiated() -> None:
    made, port = Recorders(), free_port()
    with serving(TCPAddress(HOST, port), made):
        for offered, chosen in ((["old", "new"], "new"), (["old"], "old"), (["odd"], None)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(offered)
            with context.wrap_socket(socket.create_connection((HOST, port), WITHIN)) as client:
                assert client.selected_alpn_protocol() == chosen
                eventually(lambda: "handshake" in made.made[-1].events)
                expected = chosen.encode() if chosen else None
                assert call(lambda: made.made[-1].wire.negotiatedProtocol) == expected


class Greets(Recorder):
    """Writes before the handshake."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.wire.write(b"hel")
        self.wire.writeSequence([b"l", b"o"])


@BOTH
def test_what_is_written_before_the_handshake_comes_after_it(version: ssl.TLSVersion) -> None:
    with recorded(version, Greets) as (_, client):
        assert read_exactly(client, 5) == b"hello"


def test_only_bytes_can_be_written() -> None:
    with recorded() as (app, _):
        with pytest.raises(TypeError):
            call(lambda: app.wire.write("text"))


@BOTH
def test_much_in_both_directions_at_once_comes_whole_and_in_order(version: ssl.TLSVersion) -> None:
    class Echoes(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.wire.write(data)

    with recorded(version, Echoes) as (app, client):
        got = b""
        for at in range(0, len(BODY), 1 << 16):
            client.sendall(BODY[at : at + (1 << 16)])
            got += read_exactly(client, 1 << 16)
        assert got == BODY
        assert app.received == BODY


@BOTH
def test_who_has_paused_gets_nothing_and_nothing_is_lost(version: ssl.TLSVersion) -> None:
    class PausesAtOnce(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if len(self.received) < 80_000:
                self.wire.pauseProducing()

    with recorded(version, PausesAtOnce) as (app, client):
        client.sendall(b"a" * 40_000)
        eventually(lambda: app.received)
        before = call(lambda: len(app.received))
        client.sendall(b"b" * 40_000)
        assert call(lambda: len(app.received)) == before <= 1 << 14, "one record at most"
        while call(lambda: len(app.received)) < 80_000:
            call(app.wire.resumeProducing)
        assert app.received == b"a" * 40_000 + b"b" * 40_000


@implementer(IPushProducer)
class Pushes:
    """Writes as much as it may, and notes what it is told."""

    def __init__(self, app: Recorder, count: int) -> None:
        self._app, self.left = app, count
        self.told: list[str] = []
        self.paused = False

    def resumeProducing(self) -> None:
        """Go on."""
        self.told.append("resume")
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self._app.wire.write(bytes(1 << 14))
        if not self.left:
            self._app.wire.unregisterProducer()

    def pauseProducing(self) -> None:
        """Wait."""
        self.told.append("pause")
        self.paused = True

    def stopProducing(self) -> None:
        """It is over."""
        self.told.append("stop")
        self.paused = True


def start(app: Recorder, producer: Any, streaming: bool = True) -> None:
    def register() -> None:
        app.wire.registerProducer(producer, streaming)
        if streaming:
            producer.resumeProducing()

    call(register)


@BOTH
def test_a_producer_is_paused_when_its_client_reads_nothing_and_resumed_when_it_does(
    version: ssl.TLSVersion,
) -> None:
    with recorded(version) as (app, client):
        producer = Pushes(app, 1 << 10)
        start(app, producer)
        eventually(lambda: producer.paused)
        held = len(app.wire.dataBuffer) + app.wire._tempDataLen
        assert held < 1 << 18, "what is held for a slow client is bounded"
        call(app.wire.loseConnection)  # waits for the producer
        read_exactly(client, 1 << 24)
        assert read_all(client) == b""
        assert "stop" not in producer.told


def test_the_end_waits_for_a_producer_that_is_not_paused() -> None:
    with recorded() as (app, client):
        producer = Pushes(app, 0)
        call(lambda: app.wire.registerProducer(producer, True))
        call(app.wire.loseConnection)
        call(lambda: app.wire.write(b"one more"))
        assert read_exactly(client, 8) == b"one more"
        call(app.wire.unregisterProducer)
        assert client.recv(1) == b""


@implementer(IPullProducer)
class Pulled:
    """Writes a piece whenever it is asked."""

    def __init__(self, app: Recorder, pieces: Iterator[bytes]) -> None:
        self._app, self._pieces = app, pieces
        self.stopped = False

    def resumeProducing(self) -> None:
        """Write the next piece."""
        piece = next(self._pieces, None)
        if piece is None:
            self._app.wire.unregisterProducer()
            self._app.wire.loseConnection()
        else:
            self._app.wire.write(piece)

    def stopProducing(self) -> None:
        """It is over."""
        self.stopped = True


@BOTH
def test_a_producer_that_is_pulled_is_asked_until_it_has_no_more(version: ssl.TLSVersion) -> None:
    with recorded(version) as (app, client):
        start(app, Pulled(app, iter([b"abc"] * 500)), streaming=False)
        assert read_all(client) == b"abc" * 500
        client.unwrap().close()
        assert finished(app) is ConnectionDone


def test_producers_are_told_of_the_end_and_only_one_may_register() -> None:
    with recorded() as (app, client):
        producer, second = Pushes(app, 0), Pushes(app, 0)
        call(lambda: app.wire.registerProducer(producer, True))
        with pytest.raises(RuntimeError):
            call(lambda: app.wire.registerProducer(second, True))
        client.close()
        finished(app)
        assert producer.told == ["stop"]
        call(lambda: app.wire.registerProducer(second, True))
        assert second.told == ["stop"]


def test_a_producer_stops_when_its_client_says_goodbye() -> None:
    with recorded() as (app, client):
        producer = Pulled(app, iter(lambda: b"x", b""))
        start(app, producer, streaming=False)
        with suppress(ssl.SSLError):  # Python's client cannot bear what comes after its goodbye
            client.unwrap()
        read_all(client)
        client.close()
        finished(app)
        assert producer.stopped


def test_a_request_that_comes_with_the_end_of_the_handshake_is_not_left_lying() -> None:
    made = Recorders()
    with tls_port(made) as (_, port):
        with socket.create_connection(("127.0.0.1", port), WITHIN) as plain:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context(VERSIONS[1]).wrap_bio(
                incoming, outgoing, server_hostname="localhost"
            )
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(1 << 16))
            for _ in range(40):
                client.write(b"x" * 1000)
            plain.sendall(outgoing.read())
            eventually(lambda: made.made[0].received == b"x" * 40_000)


def test_a_hello_in_pieces_is_put_together() -> None:
    made = Recorders()
    hello = client_hello(VERSIONS[1])
    with tls_port(made) as (_, port):
        with socket.create_connection(("127.0.0.1", port), WITHIN) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(hello), 50):
                plain.sendall(hello[at : at + 50])
            assert plain.recv(1) == b"\x16"
