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
from homing.shared.handoff import Greeting
from homing.shared.rarely import Rarely


class HandOffReactor(IReactorTime, IReactorUNIX):
    """What hand-off needs of the reactor."""


class HandOff:
    """Data plane to the server that listens at the UNIX socket `path`."""

    _log = Logger()

    def __init__(self, reactor: HandOffReactor, name: str, path: str, balancing: Balancing) -> None:
        self.name = name
        self.up = False
        self.at_server = 0
        """Connections that the server has accepted and not ended yet."""
        self._path = path
        self._reactor = reactor
        self._balancing = balancing
        self._link: Link | None = None
        self._stopping = False
        self._stranger = (0, 0)
        self._strangers = Rarely(self._say_stranger)
        links = Factory.forProtocol(partial(Link, reactor, self))
        links.noisy = False
        self._service = ClientService(
            UNIXClientEndpoint(reactor, path), links, retryPolicy=pauses, clock=reactor
        )

    @property
    def active(self) -> int:
        return self.at_server + (len(self._link.unanswered) if self._link else 0)

    def start(self) -> None:
        self._service.startService()

    def take(self, client: ClientConnection) -> bool:
        return self.up and self._link is not None and self._link.send(client)

    def greeted(self, link: Link, greeting: Greeting) -> None:
        """The server takes connections."""
        if self._stopping:
            return
        self._link, self.at_server, self.up = link, greeting.active, True
        self._balancing.told(self.name, greeting.digest)
        self._balancing.changed()

    def answered(self) -> None:
        """The server can be given more."""
        self._balancing.free(self.name)

    def give_back(self, client: ClientConnection, why: Reason) -> None:
        """The server did not take this connection: another one must."""
        self._balancing.give_back(client, self.name, why)

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

    def lost(self, link: Link) -> None:
        """A link is over; what the server did not take goes elsewhere."""
        if link is self._link:
            self._link, self.up = None, False
            if not self._stopping:
                self._balancing.changed()
        unanswered = [client for client, _ in link.unanswered]
        link.unanswered.clear()
        if unanswered:
            self._log.warn(
                "{count} connections on their way to {name} go elsewhere",
                name=self.name,
                count=len(unanswered),
            )
        for client in unanswered:
            self.give_back(client, Reason.OWNER_DOWN)

    def stop(self, grace: float | None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop(grace))

    async def _stop(self, grace: float | None) -> None:
        self._stopping, self.up = True, False
        if self._link is not None and self._link.unanswered:
            answered = self._link.all_answered()
            if grace is not None:
                answered.addTimeout(grace, self._reactor)
            with suppress(defer.TimeoutError):
                await answered
        await self._service.stopService()
