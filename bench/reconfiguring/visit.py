"""One visit of a TLS client: handshake, a question to the demo application, an answer."""

from __future__ import annotations

import json
import ssl
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from homing.shared.candidates import Candidate, candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader

REQUEST = b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n"
DEADLINE = 15.0
"""Seconds within which a visit must have its answer."""


class BrokenOff(Exception):
    """A connection ended without an answer: the client tries again."""


class Reactor(IReactorTCP, IReactorTime):
    """What visits need of the reactor."""


@attrs.frozen
class Seen:
    """What a visit saw."""

    brought: tuple[Candidate, ...]
    answer: dict[str, Any]
    session: Deferred[ssl.SSLSession | None]
    """What the client has at the end; fires when it has left."""


class _Visit(Protocol):
    """Asks once, stays for `stay` seconds after the answer, and leaves.

    TLS is the `ssl` module's, another OpenSSL than that of the servers, over memory: so what the
    client brings can be read off its ClientHello.
    """

    transport: ITCPTransport

    def __init__(
        self,
        reactor: Reactor,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None,
        stay: float,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost", session=session
        )
        self._stay = stay
        self._shaken = False
        self._read = b""
        self._brought: tuple[Candidate, ...] | None = None
        self._error: Exception | None = None
        self._deadline = reactor.callLater(DEADLINE, self._too_late)
        self._left: Deferred[ssl.SSLSession | None] = Deferred()
        self.answered: Deferred[Seen] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()

    def _go_on(self) -> None:
        try:
            self._step()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.transport.loseConnection()
        except (ssl.SSLError, ValueError) as error:
            self._error = error
            self.transport.abortConnection()
        self._send()

    def _step(self) -> None:
        if not self._shaken:
            self._tls.do_handshake()
            self._shaken = True
            self._tls.write(REQUEST)
        while more := self._tls.read(65536):
            self._read += more
            _, _, body = self._read.partition(b"\r\n\r\n")
            if not self.answered.called and body.endswith(b"}\n"):
                self._deadline.reset(self._stay)
                self.answered.callback(Seen(self._brought or (), json.loads(body), self._left))

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and self._brought is None:
            hello = ClientHelloReader().feed(data)
            assert isinstance(hello, ClientHello)
            self._brought = candidates(hello)
        self.transport.write(data)

    def _too_late(self) -> None:
        if self.answered.called:  # it has stayed long enough
            self.transport.loseConnection()
        else:
            self._error = TimeoutError("no answer in time")
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        if self.answered.called:
            self._left.callback(self._tls.session)
        elif isinstance(self._error, ssl.SSLError):
            self.answered.errback(self._error)
        else:
            self.answered.errback(BrokenOff(str(self._error or reason.value)))


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, one: _Visit) -> None:
        self._one = one

    def buildProtocol(self, addr: IAddress | None) -> _Visit:
        return self._one

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._one.connectionLost(reason)


async def visit(
    reactor: Reactor,
    address: tuple[str, int],
    context: ssl.SSLContext,
    session: ssl.SSLSession | None,
    stay: float,
) -> Seen:
    """Visit the farm at `address`, and stay for so many seconds after the answer.

    Raises BrokenOff, and ssl.SSLError when the handshake fails.
    """
    one = _Visit(reactor, context, session, stay)
    reactor.connectTCP(*address, _Factory(one), timeout=DEADLINE)
    return await one.answered
