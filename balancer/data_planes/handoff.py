"""Hand-off: the connection itself goes to a server process on this machine (`shared/handoff.py`).

The balancer is then done with it: the server talks to the client directly, sees its true address
and goes on when the balancer is restarted.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from homing.balancer.client_connection import ClientConnection
from homing.balancer.data_planes.base import Balancing, pauses
from homing.balancer.data_planes.link import Link
from homing.balancer.routing import Reason
from homing.shared.rarely import Rarely


class Reactor(IReactorTime, IReactorUNIX):
    """What hand-off needs of the reactor."""


class HandOff:
    """Data plane to the server that listens at the UNIX socket `path`."""

    _log = Logger()

    def __init__(self, reactor: Reactor, name: str, path: str, balancing: Balancing) -> None:
        self.name = name
        self._path = path
        self.up = False
        self._reactor = reactor
        self._balancing = balancing
        self._at_server = 0
        self._link: Link | None = None
        self._stranger = (0, 0)
        self._strangers = Rarely(self._say_stranger)
        links = Factory.forProtocol(partial(Link, reactor, self))
        links.noisy = False
        self._service = ClientService(
            UNIXClientEndpoint(reactor, path), links, retryPolicy=pauses, clock=reactor
        )

    @property
    def active(self) -> int:
        return self._at_server + (self._link.on_their_way if self._link else 0)

    def start(self) -> None:
        self._service.startService()

    def take(self, client: ClientConnection) -> bool:
        return self._link is not None and self._link.send(client)

    def greeted(self, link: Link, active: int) -> None:
        """The server takes connections, and has so many."""
        self._link, self._at_server, self.up = link, active, True
        self._balancing.changed()

    def accepted(self) -> None:
        """It has one connection more."""
        self._at_server += 1

    def ended(self) -> None:
        """It has one connection less."""
        self._at_server -= 1

    def refused(self, client: ClientConnection) -> None:
        """It has no descriptor left for this one."""
        client.exclude(self.name, Reason.OWNER_BUSY)
        self._balancing.give_back(client)

    def answered(self) -> None:
        """It can be given more."""
        self._balancing.free(self.name)

    def stranger(self, pid: int, uid: int) -> None:
        """Another user's process listens where the server should."""
        self._stranger = pid, uid
        self._strangers.happened()

    def _say_stranger(self, count: int) -> None:
        pid, uid = self._stranger
        self._log.error(
            "{name}: process {pid} of user {uid} listens at {path} and gets no clients, as it is "
            "not ours: end it, and see who may write to that folder",
            name=self.name,
            pid=pid,
            uid=uid,
            path=self._path,
        )

    def lost(self, link: Link, unanswered: list[ClientConnection]) -> None:
        """A link is over; what the server did not take goes elsewhere."""
        if link is self._link:
            self._link, self.up = None, False
            self._balancing.changed()
        if unanswered:
            self._log.warn(
                "{count} connections on their way to {name} go elsewhere",
                name=self.name,
                count=len(unanswered),
            )
        for client in unanswered:
            client.exclude(self.name, Reason.OWNER_DOWN)
            self._balancing.give_back(client)

    def stop(self, grace: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop(grace))

    async def _stop(self, grace: float) -> None:
        link, self._link, self.up = self._link, None, False
        if link:
            with suppress(defer.TimeoutError):
                await link.all_answered().addTimeout(grace, self._reactor)
        await self._service.stopService()
