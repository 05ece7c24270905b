"""Connections that come through a proxy, the balancer, which names their clients (PROXY protocol).

Twisted's own wrapper, `twisted.protocols.haproxy`, believes any proxy and any address.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from homing.shared.addresses import IPAddress, ip_address
from homing.shared.proxy_protocol import HeaderReader, InvalidHeader, Proxied
from homing.shared.rarely import Rarely

Network = IPv4Network | IPv6Network


class ProxiedProtocol(ProtocolWrapper):
    """One connection: the header, then the application's bytes."""

    factory: ProxiedFactory

    def __init__(self, factory: ProxiedFactory, wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)  # type: ignore[arg-type]
        self._reader: HeaderReader | None = HeaderReader()
        self._proxied = Proxied(None, None)

    def dataReceived(self, data: bytes) -> None:
        if self._reader is None:
            super().dataReceived(data)
            return
        if self.disconnecting:
            return  # it follows an invalid header
        try:
            read = self._reader.feed(data)
        except InvalidHeader as error:
            self.factory.refuse(self.transport.getPeer(), str(error))  # type: ignore[union-attr]
            self.loseConnection()
            return
        if read is not None:
            self._reader = None
            self._proxied, more = read
            if more:
                super().dataReceived(more)

    def getPeer(self) -> IAddress:
        """The client, or the proxy if the header names none."""
        source = self._proxied.source
        return _address(*source) if source else self.transport.getPeer()  # type: ignore[union-attr]

    def getHost(self) -> IAddress:
        """The address that the client connected to, or ours."""
        to = self._proxied.destination
        return _address(*to) if to else self.transport.getHost()  # type: ignore[union-attr]


class ProxiedFactory(WrappingFactory):
    """Accepts connections from `trusted` proxies, or from anybody if that is None."""

    protocol = ProxiedProtocol
    _log = Logger()

    def __init__(self, application: IProtocolFactory, trusted: Sequence[Network] | None) -> None:
        super().__init__(application)
        self._trusted = trusted
        self._last = ""
        self._refused = Rarely(self._say)

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> ProtocolWrapper | None:
        if self._trusted is not None:
            host = ip_address(addr.host)  # type: ignore[union-attr]
            if not any(host in network for network in self._trusted):
                self.refuse(addr, "it is not in proxy_protocol_from")
                return None
        return super().buildProtocol(addr)

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


def _address(host: IPAddress, port: int) -> IPv4Address | IPv6Address:
    kind = IPv4Address if host.version == 4 else IPv6Address
    return kind("TCP", str(host), port)
