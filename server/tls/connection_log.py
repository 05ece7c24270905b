"""A log line for every connection: its client, and whether it resumed a session, or why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.server.tls.session import Session
from homing.shared.addresses import host_and_port
from homing.shared.candidates import Candidate, Carrier
from homing.shared.rarely import Rarely
from homing.shared.record import Record

if TYPE_CHECKING:
    from homing.server.tls.transport import SessionTLSTransport


class ConnectionLog:
    """Logs the connections of the server called `name`; `record` returns its present record."""

    _log = Logger()

    def __init__(self, name: str, record: Callable[[], Record]) -> None:
        self._name = name
        self._record = record
        self._failed = Rarely(self._say_failed)
        self._last = "", ""

    def finished(self, connection: SessionTLSTransport) -> None:
        """Log a finished handshake.  Raises nothing: the connection goes on."""
        try:
            self._say(connection, connection.session())
        except Exception:
            self._log.failure("a connection cannot be logged")

    def failed(self, connection: SessionTLSTransport, reason: Failure) -> None:
        """Log, rarely, a handshake that failed."""
        self._last = shown(connection.getPeer()), _in_words(reason)
        self._failed.happened()

    def _say_failed(self, count: int) -> None:
        words = "{client} failed in its handshake: {reason}"
        self._log.info(
            words if count == 1 else words + "; so did {count} in all since the last such line",
            client=self._last[0],
            reason=self._last[1],
            count=count,
        )

    def _say(self, connection: SessionTLSTransport, session: Session) -> None:
        by, reason = session.found_by, None
        if not session.resumed:
            reason = why_new(session, connection.brought, self._record())
            how = f"new session: {reason}"
        elif by:
            how = f"resumed by {by.carrier.value} {by.identifier.hex()[:16]}"
        else:
            how = "resumed"
        self._log.info(
            "{client} {protocol} {how}",
            client=shown(connection.getPeer()),
            server=self._name,
            protocol=session.protocol,
            how=how,
            resumed=session.resumed,
            reason=reason,
            carrier=by.carrier.value if by else None,
            identifier=by.identifier.hex() if by else None,
        )


def why_new(session: Session, brought: tuple[Candidate, ...], record: Record) -> str:
    """Why no session was resumed by what the client brought."""
    telling = [
        one
        for one in brought  # in TLS 1.3 the session ID is random
        if one.carrier is not Carrier.SESSION_ID or session.protocol != "TLSv1.3"
    ]
    if not telling:
        return "it brought nothing"
    if session.leaves:
        return "its identifier leaves this server: it gets one that stays"
    for one in telling:
        if one.identifier in record:
            why = "no longer known" if one.identifier in session.missed else "could not be used"
            return f"its {one.carrier.value} is of this server's record, but {why}"
    return f"its {telling[0].carrier.value} is not of this server's record"


def shown(address: IAddress) -> str:
    """Host and port as people write them."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if host is None or port is None else host_and_port(host, port)


def _in_words(reason: Failure) -> str:
    """OpenSSL's own words, if it is an error of OpenSSL."""
    faults = next(iter(getattr(reason.value, "args", ())), None)
    if isinstance(faults, list) and faults:
        return str(faults[0][-1])
    return reason.getErrorMessage() or "it left"
