"""TLS for the tests: certificates, clients over blocking sockets, handshakes in memory."""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from homing.certs.demo import DemoCertificates, demo_certificates
from homing.server.identifiers.issuer import Issuer
from homing.server.openssl.connection_state import ConnectionState, ServerConnection
from homing.server.tls.context import TLSOptions
from homing.shared.id_sets import IdRange
from homing.shared.record import Record
from tests.reactor import WITHIN

RECORD = Record((IdRange.of_prefix(b"HOME"),))
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@cache
def certificates() -> DemoCertificates:
    """Demo certificates, made once a test process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return demo_certificates(folder)


def options(**changes: Any) -> TLSOptions:
    """What a server's TLS is set up with in the tests: sessions in the server, without tickets."""
    usual = {
        "certificate": certificates().certificate,
        "key": certificates().key,
        "session_lifetime": 7200,
        "session_cache": 20_480,
        "resumption": "ids",
        "ticket_secret_lifetime": 43_200,
        "renew_tickets": True,
        "renegotiation": False,
    }
    return TLSOptions(**{**usual, **changes})


def issuer(record: Record = RECORD, **changes: Any) -> Issuer:
    """What draws from a record in the tests."""
    return Issuer(record, **{"session_lifetime": 7200, **changes})


@cache
def client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's context for one TLS version; it never uses tickets in TLS 1.2."""
    context = ssl.create_default_context(cafile=str(certificates().ca))
    context.minimum_version = context.maximum_version = version
    return context


Session = ssl.SSLSession


def shake_hands(
    connection: socket.socket,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    session: Session | None = None,
) -> ssl.SSLSocket:
    """TLS over a connected socket, which it takes over."""
    connection.settimeout(WITHIN)
    return client_context(version).wrap_socket(
        connection, server_hostname="localhost", session=session
    )


def client_hello(version: ssl.TLSVersion) -> bytes:
    """What a client of that version sends first."""
    hello = ssl.MemoryBIO()
    client = client_context(version).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return hello.read()


def ask(tls: ssl.SSLSocket) -> dict[str, Any]:
    """What ``/session`` says, over a connection that stays open."""
    tls.sendall(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += read(tls)
    head, _, body = reply.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += read(tls)
    answer: dict[str, Any] = json.loads(body)
    return answer


def read(connection: socket.socket) -> bytes:
    """The next bytes; an end is an error."""
    data = connection.recv(65536)
    assert data, "closed"
    return data


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes."""
    data = bytearray()
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, f"closed after {len(data)} of {count} bytes"
        data += more
    return bytes(data)


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end, whichever way it comes."""
    data = b""
    with suppress(ConnectionError, ssl.SSLError):
        while more := connection.recv(65536):
            data += more
    return data


def end_of(address: tuple[str, int]) -> bytes:
    """What a silent client reads before its connection ends, even within `connect`."""
    try:
        with socket.create_connection(address, WITHIN) as client:
            return read_all(client)
    except ConnectionError:
        return b""


def reset(connection: socket.socket) -> None:
    """Close such that the other side sees RST, never close_notify nor FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def tcp_pair(family: socket.AddressFamily = socket.AF_INET) -> Iterator[tuple[socket.socket, ...]]:
    """A client's socket and the server's end of its connection."""
    with socket.socket(family) as port:
        port.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
        port.listen()
        with socket.create_connection(port.getsockname()[:2], WITHIN) as client:
            accepted, _ = port.accept()
            with accepted:
                yield client, accepted


@cache
def client_in_memory(version: int) -> SSL.Context:
    """One a version: pyOpenSSL resumes sessions within one context only."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    return context


class InMemory:
    """A handshake in memory between a client of one TLS version and a server's context."""

    def __init__(
        self, context: SSL.Context, version: int, session: SSL.Session | None = None
    ) -> None:
        self.client = SSL.Connection(client_in_memory(version), None)
        self.client.set_connect_state()
        if session is not None:
            self.client.set_session(session)
        self.server = ServerConnection(context)
        self.server.set_accept_state()

    @property
    def state(self) -> ConnectionState:
        """What the server notes of the connection."""
        return self.server.state

    def shake_hands(self) -> InMemory:
        """Finish the handshake, and bring its tickets to the client."""
        for _ in range(4):
            for side, other in ((self.client, self.server), (self.server, self.client)):
                with suppress(SSL.WantReadError):
                    side.do_handshake()
                self.carry(side, other)
        with suppress(SSL.WantReadError):
            self.client.recv(1)
        return self

    def renegotiate(self) -> None:
        """Have the client ask for another handshake.  Raises SSL.Error when it gets none."""
        self.client.renegotiate()
        for _ in range(4):
            for side, other in ((self.client, self.server), (self.server, self.client)):
                for step in (side.do_handshake, lambda side=side: side.recv(1)):
                    with suppress(SSL.WantReadError):
                        step()
                self.carry(side, other)
        assert self.client.total_renegotiations() == 1

    def says(self, words: bytes) -> bytes:
        """What the server reads when the client says so."""
        self.client.send(words)
        self.carry(self.client, self.server)
        return self.server.recv(65536)

    def resumable(self) -> SSL.Session:
        """End well, as servers do, and return what the client can come back with."""
        for side in (self.server, self.client):
            side.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        session = self.client.get_session()
        assert session is not None
        return session

    @staticmethod
    def carry(side: SSL.Connection, other: SSL.Connection) -> None:
        """Bring what one side has written to the other."""
        with suppress(SSL.WantReadError):
            while True:
                other.bio_write(side.bio_read(1 << 16))
