"""Connections that come through a proxy, the balancer, which names their clients (PROXY protocol).

Twisted's own wrapper, `twisted.protocols.haproxy`, believes any proxy and any address.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from socket import MSG_PEEK, socket

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from homing.server.tls.factory import HANDSHAKE_TIMEOUT, SessionTLSFactory
from homing.server.tls.listening import Arrivals
from homing.server.tls.sockets import Address, end
from homing.shared.addresses import IPAddress, ip_address
from homing.shared.deadlines import Deadline
from homing.shared.proxy_protocol import HeaderReader, InvalidHeader, Proxied
from homing.shared.rarely import Rarely

Network = IPv4Network | IPv6Network

_MOST = 1 << 12


class ProxiedArrivals(Arrivals):
    """Takes connections from `trusted` proxies, or from anybody if that is None."""

    _log = Logger()

    def __init__(self, connections: SessionTLSFactory, trusted: Sequence[Network] | None) -> None:
        super().__init__(connections.application, self._read_header)
        self.connections = connections
        self.reading: set[_HeaderReading] = set()
        self._trusted = trusted
        self._last = ""
        self._refused = Rarely(self._say)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        if self._trusted is not None:
            host = ip_address(addr.host)  # type: ignore[union-attr]
            if not any(host in network for network in self._trusted):
                self.refuse(addr, "it is not in proxy_protocol_from")
                return None
        return super().buildProtocol(addr)

    def _read_header(self, connection: socket, proxy: Address) -> None:
        connection.setblocking(False)
        self.reading.add(_HeaderReading(self, connection, proxy))

    def doStop(self) -> None:
        """End those whose client is not known yet."""
        for one in list(self.reading):
            one.connectionLost(Failure(CONNECTION_DONE))
        super().doStop()

    def refuse(self, peer: IAddress | None, why: str) -> None:
        """Log, rarely, that a connection is closed."""
        self._last = f"{getattr(peer, 'host', peer)}: {why}"
        self._refused.happened()

    def _say(self, count: int) -> None:
        self._log.warn(
            "connections closed that came through no trusted proxy: {count}; the last from {last}",
            count=count,
            last=self._last,
        )


class _HeaderReading(FileDescriptor):
    """Reads the header of one connection, and not a byte more."""

    def __init__(self, arrivals: ProxiedArrivals, connection: socket, proxy: Address) -> None:
        reactor = arrivals.connections.reactor
        super().__init__(reactor)
        self.fileno = connection.fileno  # type: ignore[method-assign]
        self._arrivals = arrivals
        self._socket = connection
        self._proxy = proxy
        self._reader = HeaderReader()
        self._deadline = Deadline(reactor, HANDSHAKE_TIMEOUT, self._late)
        self.startReading()

    def doRead(self) -> Exception | None:
        try:
            there = self._socket.recv(_MOST, MSG_PEEK)
            read = self._reader.feed(there)
            self._socket.recv(len(there) - len(read[1] if read else b""))
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        except InvalidHeader as error:
            self._arrivals.refuse(self._proxy, str(error))
            return CONNECTION_DONE
        if read is not None:
            self._over()
            self._serve(read[0])
        return None if there else CONNECTION_DONE

    def _serve(self, proxied: Proxied) -> None:
        """The client, or the proxy if the header names none; where it connected to, or here."""
        peer = _address(*proxied.source) if proxied.source else self._proxy
        host = _address(*proxied.destination) if proxied.destination else None
        self._arrivals.connections.take(self._socket, peer, host)

    def _over(self) -> None:
        self._arrivals.reading.discard(self)
        self._deadline.cancel()
        self.stopReading()

    def _late(self) -> None:
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        """It ends before its client is known."""
        if self in self._arrivals.reading:
            self._over()
            end(self._socket)


def _address(host: IPAddress, port: int) -> Address:
    kind = IPv4Address if host.version == 4 else IPv6Address
    return kind("TCP", str(host), port)
