"""One server as a Twisted service: its context, self-test, listening port and clean end."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IProtocolNegotiationFactory,
)
from twisted.logger import Logger

from homing.server.files import remove_socket
from homing.server.groups.group import Group
from homing.server.identifiers.issuer import Issuer
from homing.server.identifiers.journal import Journal
from homing.server.openssl.functions import openssl
from homing.server.ownership import safe_way
from homing.server.reactor import ServerReactor
from homing.server.tls.connection_log import ConnectionLog
from homing.server.tls.context import TLSOptions, server_context
from homing.server.tls.factory import SessionTLSFactory
from homing.server.tls.listening import Arrivals, listen
from homing.server.tls.proxied import Network, ProxiedArrivals
from homing.server.tls.receiver import ReceiverFactory
from homing.server.tls.self_test import run_self_test
from homing.shared.addresses import host_and_port
from homing.shared.errors import HomingError
from homing.shared.fingerprint import digest
from homing.shared.part import Part
from homing.shared.record import Record

GRACE = 4.0
"""Seconds that open connections get to finish when the server stops."""


@attrs.frozen
class UnixAddress:
    """A balancer hands connections over at the UNIX socket `path`."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@attrs.frozen
class TCPAddress:
    """Connections come over TCP, behind a PROXY protocol header if `proxy_protocol`."""

    host: str
    port: int
    proxy_protocol: bool = False
    proxy_protocol_from: tuple[Network, ...] | None = None
    """The proxies whose headers are believed; None for all."""

    def __str__(self) -> str:
        return f"tcp:{host_and_port(self.host, self.port)}"


class TLSServer(Service):
    """Server 102: serves `application` over TLS with identifiers drawn from `record`.

    If `record` has few session IDs, the file `journal` notes those given out.  With
    `log_connections` every connection is logged.

    Raises HomingError, UnsupportedOpenSSL among them, if it could not work.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ServerReactor,
        name: str,
        address: UnixAddress | TCPAddress,
        *,
        record: Record,
        options: TLSOptions,
        application: IProtocolFactory,
        group: Group | None = None,
        journal: Path | None = None,
        log_connections: bool = False,
    ) -> None:
        self.setName(name)
        self.issuer = Issuer(
            record,
            session_lifetime=options.session_lifetime,
            journal=Journal(journal, time.time, self._warn) if journal else None,
        )
        self._reactor = reactor
        self._address = address
        self.group = group
        self._application = application
        negotiated = IProtocolNegotiationFactory(application, None)
        alpn = negotiated.acceptableProtocols() if negotiated else ()
        context = server_context(options, self.issuer, group, alpn)
        run_self_test(context)
        log = ConnectionLog(name, lambda: self.issuer.record) if log_connections else None
        self._connections = SessionTLSFactory(context, application, reactor, connection_log=log)
        self._links = ReceiverFactory(
            reactor, self._connections, lambda: digest(self.issuer.record)
        )
        self._port: IListeningPort | None = None
        self._waits: list[Deferred[None]] = []

    def _warn(self, words: str) -> None:
        self._log.warn("{words}", words=words)

    def renew(self, options: TLSOptions) -> None:
        """Serve connections to come with the certificate and the key of `options`.

        Nothing else of `options` counts.  No session is lost, nor any connection: open ones keep
        the certificate that they began with.  To be called in the reactor's thread, before the
        start or after it.

        Raises HomingError when the two cannot be used; then the present ones stay in force.
        """
        context = self._connections.context.with_certificate(options.certificate, options.key)
        run_self_test(context)
        self._connections.use(context)

    def wait_for(self, started: Deferred[None]) -> None:
        """After the start, leave clients in the kernel's queue until `started` fires."""
        self._waits.append(started)

    def leave(self, parts: Mapping[int, tuple[Part, float]]) -> None:
        """Parts leave in so many seconds: until then, clients with identifiers of them get others.

        It replaces what was said before.
        """
        self.issuer.leave(parts)
        if self.issuer.leaves:
            self._connections.replace_identifiers()

    def startService(self) -> None:
        super().startService()
        try:
            if isinstance(self._address, UnixAddress):
                self._port = self._listen_unix(self._address.path)
                self._application.doStart()  # a TCP port does so itself
            else:
                self._port = self._listen_tcp(self._address)
        except (CannotListenError, OSError) as error:
            cause = error.socketError if isinstance(error, CannotListenError) else error
            why = getattr(cause, "strerror", None) or cause
            raise HomingError(f"cannot listen at {self._address}: {why}") from error
        if self.group is not None:
            self._waits.append(self.group.start())
        self._accept_after(gatherResults(self._waits))
        self._log.info(
            "{name} takes connections at {address}; hook into OpenSSL: {linkage}",
            name=self.name,
            address=str(self._address),
            linkage=openssl().linkage,
        )

    def stopService(self) -> Deferred[None]:
        """Accept no more connections, and give the open ones `GRACE` seconds to end."""
        super().stopService()
        self._links.close()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._port:
            with suppress(FileNotFoundError):  # somebody removed the socket's file
                await maybeDeferred(self._port.stopListening)
        if isinstance(self._address, UnixAddress):
            remove_socket(self._address.path)
        with suppress(defer.TimeoutError):
            await self._connections.idle().addTimeout(GRACE, self._reactor)
        self._connections.stop()
        if isinstance(self._address, UnixAddress):
            self._application.doStop()
        if self.group is not None:
            await self.group.stop()

    def _listen_unix(self, path: Path) -> IListeningPort:
        claim_socket(path)
        before = os.umask(0o177)  # nobody else may connect, not even before a chmod
        try:
            return self._reactor.listenUNIX(str(path), self._links, mode=0o600)
        finally:
            os.umask(before)

    def _listen_tcp(self, address: TCPAddress) -> IListeningPort:
        connections, trusted = self._connections, address.proxy_protocol_from
        arrivals = (
            ProxiedArrivals(connections, trusted)
            if address.proxy_protocol
            else Arrivals(self._application, connections.take)
        )
        return listen(self._reactor, address.host, address.port, arrivals)

    def _accept_after(self, started: Deferred[Any]) -> None:
        """Leave connections, and a balancer's link, to the kernel's queue until `started` fires."""
        port: Any = self._port
        if started.called:
            return
        port.stopReading()
        started.addCallback(lambda _: port.startReading() if self.running else None)


def claim_socket(path: Path) -> None:
    """Remove the socket that a killed server left at `path`.

    Raises HomingError when a process listens there, when there is something else, or when other
    users could put a socket there.
    """
    safe_way(path)
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise HomingError(f"{path} is not a socket: remove it or choose another address")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # the queue of a hung process may be full
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise HomingError(f"another process listens at {path}: stop it or choose another address")
