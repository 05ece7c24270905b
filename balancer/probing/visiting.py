"""One visit to a server: a TLS handshake, and what its client would bring back.

pyOpenSSL does not tell what is in a session.  So the session is offered in a hello of our own, in
memory, and that is read as the balancer reads every hello.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from OpenSSL import SSL
from service_identity.exceptions import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.balancer.probing.conclusions import End, Visit
from homing.shared.addresses import ip_address
from homing.shared.candidates import Candidate, Carrier, candidates
from homing.shared.client_hello import ClientHello, ClientHelloReader
from homing.shared.deadlines import Deadline
from homing.shared.proxy_protocol import local_header

_GOODBYE = 1.0
"""Seconds that a server gets to close after us."""

_DISTRUST = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it has signed itself",
    19: "its CA is not trusted",
    20: "its CA is not known",
    21: "its CA is not known",
}
"""Of OpenSSL's verification errors (x509_vfy.h) those that are usual."""


@attrs.frozen
class Way:
    """How to shake hands with a server: in one TLS version, and as whom it must show itself."""

    context: SSL.Context
    version: int
    tls_name: str
    proxy_protocol: bool
    """Whether a PROXY header comes first."""

    def connection(self) -> SSL.Connection:
        """A client's end, in memory."""
        connection = SSL.Connection(self.context, None)
        if not _is_address(self.tls_name):
            connection.set_tlsext_host_name(_in_ascii(self.tls_name))
        connection.set_connect_state()
        return connection


def client_context(version: int, ca: Path | None) -> SSL.Context:
    """A client's context that trusts `ca`, or whom the system trusts.  Raises SSL.Error."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if ca is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(str(ca))
    return context


@attrs.frozen
class Outcome:
    """What a visit saw, and the session that it was left with."""

    visit: Visit
    session: SSL.Session | None = None


@implementer(IHandshakeListener, IOpenSSLClientConnectionCreator)
class Visiting(Protocol):
    """Shakes hands, waits for a ticket, and goes; `over` fires with the outcome.

    The certificate is judged, but what is wrong with it does not end the handshake: whoever sees
    the outcome decides.
    """

    def __init__(
        self, clock: IReactorTime, way: Way, offered: SSL.Session | None, within: float
    ) -> None:
        self.over: Deferred[Outcome] = Deferred(lambda _: self._abort())
        self._clock = clock
        self._way = way
        self._offered = offered
        self._within = within
        self._connection: SSL.Connection | None = None
        self._deadline: Deadline | None = None
        self._outcome: Outcome | None = None
        self._answered = self._completed = self._certified = False
        self._distrust: str | None = None
        used = None if offered is None else brought(way, offered)
        self._used = None if used is None else used.brought

    def over_tls(self) -> TLSMemoryBIOProtocol:
        """The protocol to connect."""
        factory = TLSMemoryBIOFactory(self, True, Factory.forProtocol(lambda: self), self._clock)
        factory.noisy = False
        return _Listening(factory, self, self._way.proxy_protocol)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        self._connection = self._way.connection()
        self._connection.set_verify(SSL.VERIFY_PEER, self._judge)
        if self._offered is not None:
            self._connection.set_session(self._offered)
        return self._connection

    def _judge(self, _c: Any, _x: Any, error: int, _d: int, is_valid: int) -> bool:
        """OpenSSL has looked at a certificate of the chain."""
        self._certified = True
        if not is_valid and self._distrust is None:
            self._distrust = _DISTRUST.get(error, f"verification error {error}")
        return True

    def connectionMade(self) -> None:
        self._deadline = Deadline(self._clock, self._within, self._late)

    def heard(self) -> None:
        """The server has said something, which may have been a ticket."""
        self._answered = True
        if self._completed and self._outcome is None:
            self._look()

    def handshakeCompleted(self) -> None:
        self._completed = True
        if self._certified and self._distrust is None and self._connection is not None:
            self._distrust = _misnamed(self._connection, self._way.tls_name)

    def _look(self, last: bool = False) -> None:
        """Go, once there is something new to come back with, or nothing can come any more."""
        assert self._connection is not None
        session = self._connection.get_session()
        brings = None if session is None else brought(self._way, session)
        is_new = brings is not None and brings.brought != self._used
        if self._way.version == SSL.TLS1_3_VERSION and not is_new and not last:
            return
        self._go(Outcome(self._shaken("", brings), session if brings else None))

    def _shaken(self, words: str, brings: Candidate | None) -> Visit:
        """A server that resumes a session does not show its certificate."""
        resumed = self._offered is not None and not self._certified
        return Visit(End.SHAKEN, words, resumed, self._distrust, brings)

    def _go(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._stop_waiting()
        self._deadline = Deadline(self._clock, _GOODBYE, self._abort)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _late(self) -> None:
        self._deadline = None
        if self._completed:
            self._look(last=True)
        else:
            self._outcome = Outcome(Visit(End.SILENT))
            self._abort()

    def _abort(self) -> None:
        self._stop_waiting()
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self._connection = None
        if not self.over.called:
            self.over.callback(self._outcome or Outcome(self._broken(reason)))

    def _broken(self, reason: Failure) -> Visit:
        """What is to be said of a connection that the server ended."""
        if self._completed:
            return self._shaken(_in_words(reason), None)
        return Visit(End.FAILED if self._answered else End.REFUSED, _in_words(reason))


class _Listening(TLSMemoryBIOProtocol):
    """TLS that also tells when something has come which is not for the application: a ticket."""

    def __init__(self, factory: Any, visiting: Visiting, proxy_protocol: bool) -> None:
        super().__init__(factory, visiting)
        self._visiting = visiting
        self._proxy_protocol = proxy_protocol

    def makeConnection(self, transport: Any) -> None:
        if self._proxy_protocol:
            transport.write(local_header())
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._visiting.heard()


def brought(way: Way, session: SSL.Session) -> Candidate | None:
    """The identifier that a client with this session brings back."""
    connection = way.connection()
    connection.set_session(session)
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    hello = ClientHelloReader().feed(connection.bio_read(1 << 16))
    if not isinstance(hello, ClientHello):
        return None
    first = next(iter(candidates(hello)), None)
    is_made_up = way.version == SSL.TLS1_3_VERSION
    if first is None or (is_made_up and first.carrier is Carrier.SESSION_ID):
        return None
    return first


def _misnamed(connection: SSL.Connection, name: str) -> str | None:
    """What is wrong with the names in the certificate."""
    try:
        if _is_address(name):
            verify_ip_address(connection, str(ip_address(name)))
        else:
            verify_hostname(connection, _in_ascii(name).decode())
    except (VerificationError, CertificateError, ValueError):  # or it is no name for certificates
        return f"it does not hold for {name}"
    return None


def _in_ascii(name: str) -> bytes:
    """A host name as DNS and certificates have it."""
    return name.removesuffix(".").encode("idna")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _in_words(reason: Failure) -> str:
    """An error of OpenSSL as its library names it, any other as it says."""
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return "; ".join(str(one[-1]) for one in error.args[0])
    return reason.getErrorMessage()
