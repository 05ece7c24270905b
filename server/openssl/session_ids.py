"""Session IDs drawn from record 132: the callback that OpenSSL asks for every new ID."""

from __future__ import annotations

from os import urandom
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.session_cache import SessionCache
from homing.server.openssl.calls import give_no_session, is_tls13, refuse_tickets
from homing.server.openssl.connection_state import state_of
from homing.server.openssl.functions import openssl
from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import LENGTH


class SessionIdCallback:
    """Gives out session IDs of `issuer`.

    OpenSSL asks for one in a full TLS 1.2 handshake without ticket, and for every NewSessionTicket
    of TLS 1.3.  Without `tickets`, that NewSessionTicket is stateful: it is the ID itself, and so
    the client's next PSK identity.  With `tickets` its ID never leaves the server; with
    `tickets_only` that of TLS 1.2 does not, either.
    """

    _log = Logger()

    def __init__(
        self, issuer: Issuer, cache: SessionCache, *, tickets: bool, tickets_only: bool = False
    ) -> None:
        self._issuer = issuer
        self._cache = cache
        self._tickets = tickets
        self._tickets_only = tickets_only
        # OpenSSL holds only the address: the callback must live as long as its contexts
        self._callback = ffi.callback(
            "int(SSL *, unsigned char *, unsigned int *)", self._generate, error=0
        )

    def install(self, context: SSL.Context) -> None:
        """Have `context` draw its session IDs here; keep this object as long as the context."""
        openssl().SSL_CTX_set_generate_session_id(context._context, self._callback)
        if not self._tickets:
            # Then TLS 1.3, too, keeps its sessions here and names them by the ID that we draw
            context.set_options(SSL.OP_NO_TICKET)
            refuse_tickets(context)

    def _generate(self, ssl: Any, buffer: Any, length: Any) -> int:
        """OpenSSL's GEN_SESSION_CB: 1 with an ID written to `buffer`, 0 to fail the handshake."""
        try:
            stays_here = self._tickets if is_tls13(ssl) else self._tickets_only
            identifier = urandom(LENGTH) if stays_here else self._draw(ssl)
            ffi.memmove(buffer, identifier, LENGTH)
        except Exception as error:  # nothing may cross the callback
            self._log.error("no session ID, the handshake fails: {error}", error=error)
            return 0
        return 1

    def _draw(self, ssl: Any) -> bytes:
        """An ID of the record; if there is none, a random one that never leaves the server."""
        state = state_of(ssl)
        try:
            identifier = self._issuer.session_id(self._cache.__contains__)
        except NoFreeIdentifier:
            give_no_session(ssl)
            return urandom(LENGTH)
        state.issued.append(identifier)
        return identifier
