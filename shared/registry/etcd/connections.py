"""Connections to the members: closing one never waits for the other side."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from homing.shared.registry.etcd.tls import RegistryTls
from homing.shared.registry.interface import TIMEOUT


class _Abrupt(ProtocolWrapper):
    """TLS would wait for the other side's close_notify, and a member that hangs sends none."""

    def loseConnection(self) -> None:
        self.abortConnection()


class _AbruptFactory(WrappingFactory):
    protocol = _Abrupt
    noisy = False


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _Endpoint:
    _inner: Any

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self._inner.connect(_AbruptFactory(factory))
        connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)
        return connecting  # type: ignore[no-any-return]


@implementer(IAgentEndpointFactory)
@attrs.frozen
class Endpoints:
    """Makes the Agent's endpoints."""

    _reactor: Any
    _tls: RegistryTls

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=TIMEOUT)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.connection_to(uri.host.decode()), endpoint)
        return _Endpoint(endpoint)
