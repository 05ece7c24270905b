"""Where clients come in: a listening socket; connections are accepted once they say something.

`TCP_DEFER_ACCEPT` leaves a connection in the kernel until its client has sent something, so most
hellos are complete at the first peek and idle connections cost no descriptor.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from homing.balancer.client_connection import ClientConnection
from homing.balancer.descriptor_reserve import OUT_OF_RESOURCES, TO_ACCEPT, DescriptorReserve
from homing.balancer.listening import BACKLOG
from homing.balancer.overload import Overload
from homing.balancer.time_slice import TimeSlice
from homing.shared.addresses import host_and_port, plain
from homing.shared.rarely import Rarely

_ACCEPTS_A_TURN = 64
_PAUSE = 0.5
_STREAM, _TCP = int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP)


class IngressReactor(IReactorFDSet, IReactorTime):
    """What accepting needs of the reactor."""


@implementer(IReadDescriptor)
class Ingress:
    """Accepts from the listening socket `port`, which it owns; `receive` gets the connections."""

    _log = Logger()

    def __init__(
        self,
        reactor: IngressReactor,
        port: socket.socket,
        defer: float,
        receive: Callable[[ClientConnection], None],
        time_slice: TimeSlice,
        reserve: DescriptorReserve,
        overload: Overload | None = None,
    ) -> None:
        self._reactor = reactor
        self._socket = port
        self._receive = receive
        self._slice = time_slice
        self._reserve = reserve
        self._overload = overload
        self._family = int(port.family)
        self._is_ipv4 = port.family is socket.AF_INET
        self._resuming: IDelayedCall | None = None
        self._error: OSError | None = None
        self._paused = Rarely(self._say_paused)
        port.setblocking(False)
        self.defer(defer)
        # Accepted sockets inherit these
        port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        port.listen(BACKLOG)  # of an inherited one, too
        self.address = host_and_port(*port.getsockname()[:2])
        """Host and port it listens at."""

    def defer(self, seconds: float) -> None:
        """Have the kernel keep a silent connection to itself for so long."""
        whole = max(1, int(seconds))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, whole)

    def open(self) -> None:
        """Begin to accept; until then clients wait in the kernel's queue."""
        self._reactor.addReader(self)

    def doRead(self) -> None:
        if not self._slice.begin():
            return
        if self._overload is not None:
            self._overload.begin(self._slice.now)
        for _ in range(_ACCEPTS_A_TURN):
            if not self._accept() or not self._slice.goes_on():
                return

    def _accept(self) -> bool:
        """Accept one connection; whether there may be more."""
        if not self._reserve.has(TO_ACCEPT):
            self._pause(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return False
        try:
            # `accept` without its look for the family, the type and a timeout of the socket
            descriptor, address = self._socket._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self._pause(error)
                return False
            return True  # that client has given up
        source = address[0] if self._is_ipv4 else plain(address[0])
        if self._overload is None or self._overload.admits(source, self._slice.now):
            connection = socket.socket(self._family, _STREAM, _TCP, descriptor)
            self._receive(ClientConnection(connection, source))
        else:
            os.close(descriptor)
        return True

    def _pause(self, error: OSError) -> None:
        """Leave clients in the kernel's queue for a while: it may have descriptors again then."""
        self._error = error
        self._paused.happened()
        self._reactor.removeReader(self)
        self._resuming = self._reactor.callLater(_PAUSE, self._resume)

    def _say_paused(self, count: int) -> None:
        self._log.warn(
            "accepting pauses for {pause} s: {error}; pauses: {count}",
            pause=_PAUSE,
            error=self._error,
            count=count,
        )

    def _resume(self) -> None:
        self._resuming = None
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more."""
        self.connectionLost()
        self._reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None

    def logPrefix(self) -> str:
        return "ingress"
