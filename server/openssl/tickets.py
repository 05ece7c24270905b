"""Tickets that route: each begins with a fresh identifier of record 132, as its key name.

OpenSSL's ticket callback for TLS 1.2 tickets and stateless TLS 1.3 tickets alike.
"""

from __future__ import annotations

import time
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from homing.server.groups.group import Group
from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.ticket_secrets import IV_LENGTH, TicketSecrets
from homing.server.openssl.calls import TICKET_CALLBACK, is_tls13
from homing.server.openssl.connection_state import state_of
from homing.server.openssl.functions import openssl
from homing.server.openssl.ticket_cipher import TicketCipher
from homing.shared.candidates import Carrier
from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import KEY_NAME_LENGTH

# What the callback returns: SSL_CTX_set_tlsext_ticket_key_evp_cb(3)
_FAILED, _NOT_OURS, _GOOD, _RENEW = -1, 0, 1, 2
_NO_TICKET = 0  # when one is to be made: the handshake goes on without


class TicketCallback:
    """Makes and opens the tickets of a context.

    With `renew` TLS 1.2 clients get a new ticket at every visit: some, like Firefox, bring none
    twice.  Those get one in any case whose ticket's part leaves this server.  A ticket is held back
    until `group` has stored its secret.
    """

    _log = Logger()

    def __init__(
        self, issuer: Issuer, secrets: TicketSecrets, *, renew: bool, group: Group | None
    ) -> None:
        self._issuer = issuer
        self._secrets = secrets
        self._group = group
        self._renew = renew
        self._cipher = TicketCipher()
        # OpenSSL holds only the address: the callback must live as long as its contexts
        self._callback = ffi.callback(TICKET_CALLBACK, self._use, error=_FAILED)

    def install(self, context: SSL.Context) -> None:
        """Have `context` make its tickets here; keep this object as long as the context."""
        openssl().SSL_CTX_set_tlsext_ticket_key_evp_cb(context._context, self._callback)

    def _use(self, ssl: Any, name: Any, iv: Any, cipher: Any, mac: Any, new: int) -> int:
        """OpenSSL's callback for a ticket: `new` asks for its keys and name, else for its keys."""
        try:
            return (self._make if new else self._open)(ssl, name, iv, cipher, mac)
        except NoFreeIdentifier:
            return _NO_TICKET
        except Exception as error:  # nothing may cross the callback
            self._log.error("a ticket could not be used: {error}", error=error)
            return _NO_TICKET if new else _NOT_OURS

    def _make(self, ssl: Any, name: Any, iv: Any, cipher: Any, mac: Any) -> int:
        identifier = self._issuer.key_name()
        start, derived = self._secrets.new_ticket(time.time(), identifier)
        ffi.memmove(name, identifier, KEY_NAME_LENGTH)
        ffi.memmove(iv, start, IV_LENGTH)
        self._cipher.use(derived, cipher, mac, iv, encrypt=True)
        state = state_of(ssl)
        state.issued.append(identifier)
        if self._group is not None and (shared := self._group.secret_shared()) is not None:
            state.pending_shares.append(shared)
        return _GOOD

    def _open(self, ssl: Any, name: Any, iv: Any, cipher: Any, mac: Any) -> int:
        state, now = state_of(ssl), time.time()
        identifier = ffi.buffer(name, KEY_NAME_LENGTH)[:]
        brought = identifier + ffi.buffer(iv, IV_LENGTH)[:]
        found = self._secrets.find(now, brought)
        if found is None:
            state.missed.add(identifier)
            return _NOT_OURS
        secret, derived = found
        self._cipher.use(derived, cipher, mac, iv, encrypt=False)
        tls13 = is_tls13(ssl)
        state.found(Carrier.PSK if tls13 else Carrier.TICKET, identifier, brought)
        # TLS 1.3 clients get a new ticket each time, so that no two of their visits can be linked
        renew = (
            tls13
            or self._renew
            or secret is not self._secrets.current(now)
            or self._issuer.leaves_at(identifier) is not None
        )
        return _RENEW if renew else _GOOD
