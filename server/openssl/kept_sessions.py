"""The sessions that clients name by an ID: OpenSSL's callbacks around our own cache."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.logger import Logger

from homing.server.groups.group import Group
from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.session_cache import SessionCache
from homing.server.openssl.calls import session_callbacks, set_session_callbacks


class KeptSessions:
    """Keeps sessions in `cache`, and in the store of `group`, too."""

    _log = Logger()

    def __init__(self, cache: SessionCache, issuer: Issuer, group: Group | None) -> None:
        self._cache = cache
        self._issuer = issuer
        self._group = group
        # OpenSSL holds only the addresses: the callbacks must live as long as its contexts
        self._callbacks = session_callbacks(self._new, self._find, self._failed)

    def install(self, context: SSL.Context) -> None:
        """Have `context` keep its sessions here; keep this object as long as the context."""
        set_session_callbacks(context, self._callbacks)

    def _new(self, ssl: Any, identifier: bytes, session: bytes) -> None:
        watch = self._issuer.noted(ssl)
        if watch.on_trial:
            watch.aside[identifier] = session
            return
        self._cache.put(identifier, session, self._issuer.now())
        if self._group is not None:
            watch.sharing.append(self._group.share(identifier, session))

    def _find(self, ssl: Any, identifier: bytes) -> bytes | None:
        watch = self._issuer.noted(ssl)
        session = watch.aside.get(identifier) or self._cache.get(identifier, self._issuer.now())
        if session is None:
            watch.missed.add(identifier)
        else:
            watch.accepted = identifier
        return session

    def _failed(self, error: Exception) -> None:
        self._log.error("a session could not be kept or found: {error}", error=error)
