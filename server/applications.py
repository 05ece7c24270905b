"""Which application a server runs: the demo, one of the user's, or a plain upstream."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.protocols.portforward import (
    Proxy,
    ProxyClient,
    ProxyClientFactory,
    ProxyFactory,
    ProxyServer,
)
from twisted.python.failure import Failure

from server.app import site
from shared.errors import HomingError

_ALLOWED = "module:factory or tcp:HOST:PORT"


def application(name: str | None, server: str) -> IProtocolFactory:
    """The application that `name` means, for the server called `server`.

    None is the demo; ``module:factory`` is a Twisted protocol factory, or something callable that
    returns one; ``tcp:HOST:PORT`` forwards the decrypted bytes to a plain upstream.  Raises
    HomingError that says what is wrong.
    """
    if name is None:
        return site(server)
    if name.startswith("tcp:"):
        return _upstream(name)
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise HomingError(f"app {name!r}: expected {_ALLOWED}")
    return _imported(name, module, attribute)


def _upstream(name: str) -> IProtocolFactory:
    host, _, port = name.removeprefix("tcp:").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise HomingError(f"app {name!r}: expected tcp:HOST:PORT, with a port from 1 to 65535")
    forward = _UpstreamFactory(host.strip("[]"), int(port))
    forward.noisy = False
    return forward


def _imported(name: str, module: str, attribute: str) -> IProtocolFactory:
    here = str(Path.cwd())
    if here not in sys.path:  # commands installed by pip do not look where they are called
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
        if not IProtocolFactory.providedBy(found):
            found = found()
    except Exception as error:
        raise HomingError(f"app {name!r}: {type(error).__name__}: {error}") from error
    if not IProtocolFactory.providedBy(found):
        raise HomingError(f"app {name!r}: {found!r} is not a Twisted protocol factory")
    factory: IProtocolFactory = found
    return factory


class _Ends(Proxy):
    """Lets the other side end: TLS says goodbye only when no producer is left to wait for."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.peer is not None:
            self.peer.transport.unregisterProducer()  # type: ignore[union-attr]
        super().connectionLost(reason)


class _UpstreamClient(_Ends, ProxyClient):
    """The connection to the upstream."""


class _UpstreamClientFactory(ProxyClientFactory):
    noisy = False
    protocol = _UpstreamClient


class _UpstreamServer(_Ends, ProxyServer):
    """The connection of the client, decrypted."""

    clientProtocolFactory = _UpstreamClientFactory


class _UpstreamFactory(ProxyFactory):
    protocol = _UpstreamServer
