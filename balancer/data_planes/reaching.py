"""Attempts to connect to a server, with a deadline that allows for pauses of this process."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from homing.shared.addresses import ip_address, plain
from homing.shared.deadlines import Clock, Deadline

_Result = TypeVar("_Result")


def within(clock: Clock, seconds: float, attempt: Deferred[_Result]) -> Deferred[_Result]:
    """`attempt`; after so many seconds it is cancelled, and fails with Twisted's TimeoutError."""
    late = False

    def give_up() -> None:
        nonlocal late
        late = True
        attempt.cancel()

    deadline = Deadline(clock, seconds, give_up)

    def over(outcome: _Result | Failure) -> _Result | Failure:
        deadline.cancel()
        return Failure(error.TimeoutError()) if late and isinstance(outcome, Failure) else outcome

    return attempt.addBoth(over)


def endpoint(reactor: object, host: str, port: int) -> IStreamClientEndpoint:
    """Where the server is: an address is connected to at once, a name is looked up in a thread.

    It has no timeout of Twisted's, which would end before answers that came during a pause of this
    process are seen.
    """
    kind: Any = HostnameEndpoint
    if not is_name(host):
        kind = TCP4ClientEndpoint if ip_address(host).version == 4 else TCP6ClientEndpoint
    made: IStreamClientEndpoint = kind(reactor, plain(host), port, timeout=None)
    return made


def is_name(host: str) -> bool:
    """Whether it has to be looked up."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def making(protocol: Protocol) -> Factory[Protocol]:
    """A factory for one connection; a protocol that has a factory keeps it."""
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    factory.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]
    return factory
