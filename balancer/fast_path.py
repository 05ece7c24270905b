"""The path from an accepted connection to its server, for a usual hello, on one screen.

The patent has a mask for standard packets and a processor for the rest (p. 7).  Here is the mask:
a whole hello in one record that one server gets at once.  What is cut, odd, no TLS, over a limit,
or for a server that is down, busy or waited for goes to `Dispatch`, with what was found out so far.

System calls: accept4 and getsockname (`ingress`); recv, which peeks; on hand-off sendmsg, and close
once the server has answered.  Shared by many connections: epoll_wait, and recv for the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from homing.balancer.client_connection import FIRST_PEEK, PEEK, ClientConnection
from homing.balancer.data_planes.base import DataPlane
from homing.balancer.dispatch import Dispatch
from homing.balancer.routing import FOLLOWED, Reason, decide_usual
from homing.balancer.time_slice import TimeSlice
from homing.shared.usual_hello import read_usual


class FastPath:
    """Gets new connections; what it does not bring to one of `planes` goes to `dispatch`."""

    _log = Logger()

    def __init__(
        self, dispatch: Dispatch, planes: Mapping[str, DataPlane], time_slice: TimeSlice
    ) -> None:
        self._dispatch = dispatch
        self._planes = planes
        self._slice = time_slice

    def receive(self, client: ClientConnection) -> None:
        """A new connection (202); an exception closes it and reaches no other."""
        try:
            if not self._bring(client):
                self._dispatch.receive(client)
        except Exception:
            self._log.failure("closed {source}: cannot be routed", source=client.source)
            client.close()

    def _bring(self, client: ClientConnection) -> bool:
        """Bring it to its server; whether that has been simple."""
        try:
            seen = client.socket.recv(FIRST_PEEK, PEEK)
        except OSError:
            return False
        dispatch, source, now = self._dispatch, client.source, self._slice.now
        brought = read_usual(seen)  # 208
        if brought is None or len(seen) > dispatch.hello_ceiling:
            return False
        found = decide_usual(dispatch.rules, brought, dispatch.up, source, now)  # 212, 210
        if found is None:
            return False
        server, reason, by = found
        if reason in FOLLOWED:
            excess = dispatch.excess(source, server, now)
            if excess is not None:
                client.refuse(server, excess)
                return False
            client.admitted = True
        if not dispatch.waiting.is_awaited(server) and self._planes[server].take(client):  # 214
            dispatch.log.tell_usual(source, server, reason, by)
            return True
        if reason not in FOLLOWED:  # the policy must choose another one
            busy = self._planes[server].up
            client.exclude(server, Reason.OWNER_BUSY if busy else Reason.OWNER_DOWN)
        return False
