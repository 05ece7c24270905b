"""The sessions that clients name by an ID: OpenSSL's callbacks around our own cache.

There is no callback for removal: OpenSSL would call it when anybody breaks off a handshake.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from homing.server.groups.group import Group
from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.session_cache import SessionCache
from homing.server.openssl.calls import (
    exported_session,
    has_stateless_tickets,
    imported_session,
    is_tls13,
)
from homing.server.openssl.connection_state import state_of
from homing.server.openssl.functions import openssl
from homing.shared.candidates import Carrier


class CacheCallbacks:
    """Keep sessions in `cache`, as DER, and in the store of `group`, too.

    One in TLS 1.2 that would outlive the stay of its part at this server is not found: a full
    handshake gives its client an identifier of `issuer` that stays.
    """

    _log = Logger()

    def __init__(self, issuer: Issuer, cache: SessionCache, group: Group | None) -> None:
        self._issuer = issuer
        self._cache = cache
        self._group = group
        # OpenSSL holds only the addresses: the callbacks must live as long as its contexts
        self._new_callback = ffi.callback("int(SSL *, SSL_SESSION *)", self._new, error=0)
        self._get_callback = ffi.callback(
            "SSL_SESSION *(SSL *, unsigned char *, int, int *)", self._get, error=ffi.NULL
        )

    def install(self, context: SSL.Context) -> None:
        """Have `context` keep its sessions here alone; keep this object as long as the context."""
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL)
        openssl().SSL_CTX_sess_set_new_cb(context._context, self._new_callback)
        openssl().SSL_CTX_sess_set_get_cb(context._context, self._get_callback)

    def _new(self, ssl: Any, session: Any) -> int:
        """OpenSSL's new_session_cb; 0 says that no reference to `session` is kept.

        A copy is kept instead: OpenSSL changes a session whose handshake breaks off.
        """
        try:
            if not has_stateless_tickets(ssl):
                self._keep(ssl, *exported_session(session))
        except Exception as error:  # nothing may cross the callback
            self._failed(error)
        return 0

    def _get(self, ssl: Any, start: Any, length: int, copy: Any) -> Any:
        """OpenSSL's get_session_cb: a session, which OpenSSL then owns, or NULL."""
        copy[0] = 0
        try:
            found = self._find(ssl, bytes(ffi.buffer(start, length)))
            return ffi.NULL if found is None else imported_session(found)
        except Exception as error:  # nothing may cross the callback
            self._failed(error)
            return ffi.NULL

    def _keep(self, ssl: Any, identifier: bytes, session: bytes) -> None:
        state = state_of(ssl)
        if state.is_self_test:
            state.own_sessions[identifier] = session
            return
        self._cache.put(identifier, session)
        if self._group is not None:
            state.pending_shares.append(self._group.share(identifier, session))

    def _find(self, ssl: Any, identifier: bytes) -> bytes | None:
        state = state_of(ssl)
        session = state.own_sessions.get(identifier) or self._cache.get(identifier)
        if session is None:
            state.missed.add(identifier)
            return None
        tls13 = is_tls13(ssl)
        if not tls13 and self._leaves_early(identifier):
            state.leaves = True
            return None
        state.found(Carrier.PSK if tls13 else Carrier.SESSION_ID, identifier, identifier)
        return session

    def _leaves_early(self, identifier: bytes) -> bool:
        time = self._issuer.leaves_at(identifier)
        return time is not None and self._cache.end(identifier) > time

    def _failed(self, error: Exception) -> None:
        self._log.error("a session could not be kept or found: {error}", error=error)
