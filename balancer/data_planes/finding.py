"""Where a relayed server is: looked up and reached for now and then, never for a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from homing.balancer.data_planes.base import pauses
from homing.balancer.data_planes.connecting import Address, address
from homing.balancer.data_planes.reaching import endpoint, is_name, making, within
from homing.shared.addresses import plain

LOOK_UP_EVERY = 60.0
"""Seconds after which the name of a relayed server that is up is looked up again."""


class Finding:
    """Looks for the server at `host`, until it is there; `is_there` is told when it is."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        connect_timeout: float,
        is_there: Callable[[], None],
    ) -> None:
        self.is_name = is_name(host)
        self._reactor = reactor
        self._host = host
        self._port = port
        self._connect_timeout = connect_timeout
        self._is_there = is_there
        self._found = host
        """The address at which it was reached last: connections ask no resolver."""
        self.address: Address | None = None
        """The same, for the kernel; None while it has to be looked up."""
        self._waiting: list[Callable[[OSError | None], None]] = []
        self._attempts = 0
        self._next: IDelayedCall | None = None
        self._is_looking = False
        self._stopped = False

    def start(self) -> None:
        """Look for it now."""
        self._next = None
        if self._is_looking:
            return
        self._is_looking = True
        looking = self._connect(self._host, Protocol())
        looking.addCallbacks(self._reached, self._not_reached)

    def start_later(self, seconds: float) -> None:
        """Look for it then, and not before."""
        self._cancel()
        if not self._stopped:
            self._next = self._reactor.callLater(seconds, self.start)

    def look_up_again(self, looked_up: Callable[[OSError | None], None]) -> None:
        """The address does not answer: tell `looked_up` why there is no other, or None."""
        self._found, self.address = self._host, None
        self._waiting.append(looked_up)
        if self._stopped and not self._is_looking:
            self._tell(OSError(None, "the balancer stops"))
        elif not self._is_looking:
            self.start_later(0)

    def connect(self, protocol: Protocol) -> Deferred[IProtocol]:
        """Connect `protocol` to it; fails as Twisted's endpoints do."""
        return self._connect(self._found, protocol)

    def _connect(self, host: str, protocol: Protocol) -> Deferred[IProtocol]:
        there = endpoint(self._reactor, host, self._port)
        return within(self._reactor, self._connect_timeout, there.connect(making(protocol)))

    def _reached(self, protocol: Protocol) -> None:
        self._is_looking = False
        transport = cast(ITCPTransport, protocol.transport)
        if self.is_name:
            self._found = transport.getPeer().host
            self.start_later(LOOK_UP_EVERY)
        self.address = address(plain(self._found), self._port)
        transport.loseConnection()
        self._attempts = 0
        self._is_there()
        self._tell(None)

    def _not_reached(self, failure: Failure) -> None:
        """A server that is up stays up until a connection fails: the resolver may be at fault."""
        self._is_looking = False
        self.start_later(pauses(self._attempts))
        self._attempts += 1
        number = getattr(failure.value, "osError", None)
        self._tell(OSError(number, failure.getErrorMessage()))

    def _tell(self, error: OSError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for looked_up in waiting:
            looked_up(error)

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def stop(self) -> None:
        """Look for it no more."""
        self._stopped = True
        self._cancel()
        if not self._is_looking:
            self._tell(OSError(None, "the balancer stops"))
