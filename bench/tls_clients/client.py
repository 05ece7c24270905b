"""One client, which keeps what it got, and comes back with it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from select import EPOLLIN, EPOLLOUT
from time import perf_counter
from typing import TypeVar

import attrs

from bench.tls_servers.answer import BODY

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_FIRST_SOURCE = 0x7F010001
"""127.1.0.1: each client has an address of its own, as clients have."""
_READ = 16384

T = TypeVar("T")
Visiting = Generator[tuple[int, int], None, "Visit"]
"""Goes on when the descriptor that it yields is ready for the events that it yields (epoll)."""
_Step = Generator[tuple[int, int], None, T]


@attrs.frozen
class Kind:
    """How clients shake hands."""

    name: str
    version: ssl.TLSVersion
    tickets: bool = True
    """In TLS 1.2; what TLS 1.3 sends are tickets always."""
    returns: bool = True
    """Whether they bring what they got."""

    def context(self) -> ssl.SSLContext:
        """One for all clients of this kind at one server.

        They do not verify the chain: it would cost time that the server needs on a small machine.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = self.version
        if not self.tickets:
            context.options |= ssl.OP_NO_TICKET
        return context


@attrs.frozen
class Visit:
    """How it went."""

    seconds: float
    """From the start of the connect to the end of the answer."""
    resumed: bool


class WrongAnswer(Exception):
    """A server did not say what it should."""


class Client:
    """Visits the server at `port` of the loopback interface; `number` is its own."""

    def __init__(self, kind: Kind, context: ssl.SSLContext, port: int, number: int) -> None:
        self._kind = kind
        self._context = context
        self._port = port
        self._source = socket.inet_ntoa((_FIRST_SOURCE + number).to_bytes(4, "big"))
        self._session: ssl.SSLSession | None = None

    def visit(self) -> Visiting:
        """Connect, shake hands, ask, read to the end, close.  Raises OSError and WrongAnswer."""
        began = perf_counter()
        with socket.socket() as plain:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.bind((self._source, 0))
            plain.connect_ex(("127.0.0.1", self._port))
            yield plain.fileno(), EPOLLOUT
            with self._context.wrap_socket(
                plain, do_handshake_on_connect=False, session=self._session
            ) as tls:
                yield from _done(tls, tls.do_handshake)
                yield from _done(tls, lambda: tls.send(REQUEST))
                answer = b""
                while more := (yield from _done(tls, lambda: tls.recv(_READ))):
                    answer += more
                resumed = bool(tls.session_reused)
                if self._kind.returns:
                    self._session = tls.session  # TLS 1.3's came with the answer
        if not answer.endswith(BODY):
            raise WrongAnswer(f"{self._kind.name}: {answer!r}")
        return Visit(perf_counter() - began, resumed)


def _done(tls: ssl.SSLSocket, step: Callable[[], T]) -> _Step[T]:
    """What `step` returns, as soon as it need not wait."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield tls.fileno(), EPOLLIN
        except ssl.SSLWantWriteError:
            yield tls.fileno(), EPOLLOUT
