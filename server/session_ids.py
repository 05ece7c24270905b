"""Session IDs drawn from record 132: the callback that OpenSSL asks for every new ID."""

from __future__ import annotations

import secrets
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi
from twisted.logger import Logger

from server.openssl import GENERATE_CALLBACK, is_known, set_generate_callback
from shared.id_sets import Randbelow
from shared.record import Record


class SessionIds:
    """Gives out session IDs from `record`, which can be replaced while connections run.

    OpenSSL asks once a full TLS 1.2 handshake, and once for every stateful NewSessionTicket of
    TLS 1.3, where the ID is the ticket and so the client's next PSK identity.
    """

    _log = Logger()

    def __init__(self, record: Record, randbelow: Randbelow = secrets.randbelow) -> None:
        self.record = record
        self._randbelow = randbelow
        self._issued: dict[int, list[bytes]] = {}
        # OpenSSL holds only the address: the callback must live as long as its contexts
        self._callback = ffi.callback(GENERATE_CALLBACK, self._generate, error=0)

    def install(self, context: SSL.Context) -> None:
        """Have `context` draw its session IDs here; keep this object as long as the context."""
        set_generate_callback(context, self._callback)

    def watch(self, connection: SSL.Connection) -> list[bytes]:
        """A list that receives every ID given out to `connection`, until `unwatch`."""
        return self._issued.setdefault(_address(connection._ssl), [])

    def unwatch(self, connection: SSL.Connection) -> None:
        """Forget the list of `connection`; to be called before the connection is freed."""
        self._issued.pop(_address(connection._ssl), None)

    def _generate(self, ssl: Any, buffer: Any, length: Any) -> int:
        """OpenSSL's GEN_SESSION_CB: 1 with an ID written to `buffer`, 0 to fail the handshake."""
        try:
            identifier = self.record.draw(
                self._randbelow, lambda candidate: is_known(ssl, candidate), length[0]
            )
            ffi.memmove(buffer, identifier, len(identifier))
            issued = self._issued.get(_address(ssl))
            if issued is not None:
                issued.append(identifier)
        except Exception as error:  # nothing may cross the callback
            self._log.error("no session ID, the handshake fails: {error}", error=error)
            return 0
        return 1


def _address(ssl: Any) -> int:
    return int(ffi.cast("uintptr_t", ssl))
