"""Which application a server runs: the demo, one of the user's, or a plain upstream."""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory

from homing.server.apps.demo import site
from homing.server.apps.upstream import UpstreamFactory
from homing.shared.addresses import split_host_and_port
from homing.shared.errors import HomingError
from homing.shared.named import findable, named

_ALLOWED = "module:factory, tcp:HOST:PORT or tcp+proxy:HOST:PORT"
_UPSTREAMS = ("tcp:", "tcp+proxy:")


def application(name: str | None, server: str) -> IProtocolFactory:
    """The application that `name` means, for the server called `server`.

    None is the demo; ``module:factory`` is a Twisted protocol factory, or something callable that
    returns one; ``tcp:HOST:PORT`` forwards the decrypted bytes to a plain upstream, and
    ``tcp+proxy:HOST:PORT`` tells it the client's address before (PROXY protocol v2).  Raises
    HomingError that says what is wrong.
    """
    if name is None:
        return site(server)
    if name.startswith(_UPSTREAMS):
        return _upstream(name)
    return _imported(name)


def check(name: str | None) -> None:
    """Raises HomingError for a `name` that cannot be an application; runs none of its code."""
    if name is None:
        return
    if name.startswith(_UPSTREAMS):
        _upstream(name)
        return
    try:
        findable(name, _ALLOWED)
    except HomingError as error:
        raise HomingError(f"app {error}") from error


def _upstream(name: str) -> IProtocolFactory:
    kind, _, rest = name.partition(":")
    try:
        host, port = split_host_and_port(rest)
    except ValueError:
        wanted = f"{kind}:HOST:PORT, with a port from 1 to 65535"
        raise HomingError(f"app {name!r}: expected {wanted}") from None
    return UpstreamFactory(host, port, kind == "tcp+proxy")


def _imported(name: str) -> IProtocolFactory:
    try:
        found = named(name, _ALLOWED)
    except HomingError as error:
        raise HomingError(f"app {error}") from error
    try:
        if not IProtocolFactory.providedBy(found):
            found = found()
    except Exception as error:
        raise HomingError(f"app {name!r}: {type(error).__name__}: {error}") from error
    if not IProtocolFactory.providedBy(found):
        raise HomingError(f"app {name!r}: {found!r} is not a Twisted protocol factory")
    factory: IProtocolFactory = found
    return factory
