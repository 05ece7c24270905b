"""Session IDs drawn from record 132: the callback that OpenSSL asks for every new ID."""

from __future__ import annotations

from secrets import token_bytes
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from server.issuer import Issuer
from server.openssl import GENERATE_CALLBACK, is_known, is_tls13, set_generate_callback


class SessionIds:
    """Gives out session IDs of `issuer`.

    OpenSSL asks once a full TLS 1.2 handshake without ticket, and once for every NewSessionTicket
    of TLS 1.3.  A stateful one, without tickets, is the ID itself and so the client's next PSK
    identity; a stateless one is not, and its ID never leaves the server.
    """

    _log = Logger()

    def __init__(self, issuer: Issuer, tickets: bool) -> None:
        self._issuer = issuer
        self._tickets = tickets
        # OpenSSL holds only the address: the callback must live as long as its contexts
        self._callback = ffi.callback(GENERATE_CALLBACK, self._generate, error=0)

    def install(self, context: SSL.Context) -> None:
        """Have `context` draw its session IDs here; keep this object as long as the context."""
        set_generate_callback(context, self._callback)

    def _generate(self, ssl: Any, buffer: Any, length: Any) -> int:
        """OpenSSL's GEN_SESSION_CB: 1 with an ID written to `buffer`, 0 to fail the handshake."""
        try:
            if self._tickets and is_tls13(ssl):  # its name is the ticket's, this never leaves
                ffi.memmove(buffer, token_bytes(length[0]), length[0])
                return 1
            identifier = self._issuer.draw(lambda taken: is_known(ssl, taken), length[0])
            ffi.memmove(buffer, identifier, len(identifier))
            self._issuer.noted(ssl).issued.append(identifier)
        except Exception as error:  # nothing may cross the callback
            self._log.error("no session ID, the handshake fails: {error}", error=error)
            return 0
        return 1
