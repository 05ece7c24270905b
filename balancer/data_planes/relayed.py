"""A relayed connection: what the client says goes to the server, and back, to the last byte."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLRDHUP

from homing.balancer.data_planes.flow_state import TRANSITIONS, FlowEvent, FlowState, Pause
from homing.balancer.data_planes.moving import End, Flow
from homing.balancer.data_planes.overdue import Overdue
from homing.balancer.data_planes.traffic import Traffic

_ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relayed:
    """Two connections, which it owns, and the two flows between them."""

    __slots__ = (
        "_client",
        "_client_is_copied",
        "_ended",
        "_idle",
        "_is_over",
        "_left",
        "_server",
        "_stall_timeout",
        "_traffic",
        "down",
        "up",
    )

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        traffic: Traffic,
        idle: Overdue[Relayed],
        left: Overdue[Relayed],
        stall_timeout: float,
        ended: Callable[[Relayed], None],
        client_is_copied: bool = False,
        overhear: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._client = End(client)
        self._server = End(server)
        self.up = Flow(self._client, self._server)
        self.down = Flow(self._server, self._client, overhear)
        self._traffic = traffic
        self._idle: Overdue[Relayed] | None = idle
        """Who ends it when nothing moves; None once one side is lost: then `left` does."""
        self._left = left
        self._stall_timeout = stall_timeout
        self._ended = ended
        self._is_over = False
        self._client_is_copied = client_is_copied
        """Whether a copy may lie in the queue of a hung server: `close` alone says nothing then."""

    def start(self, first: bytes, server_is_watched: bool) -> None:
        """Let the bytes flow, after `first`: the hello, unread until now, is in the kernel.

        Raises OSError when the kernel is out of memory.
        """
        readiness = self._traffic.readiness
        client, server = self._client, self._server
        client.socket.setblocking(False)
        limit_stalls(client.socket, self._stall_timeout)
        # The client's socket has these from the one that listens
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if server_is_watched:
            readiness.pass_to(server.fd, self)
            server.readable = server.watches_writing = True
        else:
            readiness.watch(server.fd, self)
        readiness.watch(client.fd, self)
        assert self._idle is not None
        self._idle.touch(self)
        client.readable = True
        self.up.held = first
        self._advance(self.up)
        if server.readable:
            self._advance(self.down)

    def woken(self, fd: int, events: int) -> None:
        if fd == self._client.fd:
            end, out, into = self._client, self.up, self.down
        else:
            end, out, into = self._server, self.down, self.up
        if self._idle is not None:
            self._idle.touch(self)
        if events & EPOLLERR and end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lose(end)
        if events & ~EPOLLOUT:
            end.readable = True
            if events & _ENDS:
                end.hung = True
            self._advance(out)
        if into.held or into.in_pipe:
            self._advance(into)

    def go_on(self) -> None:
        self._advance(self.up)
        self._advance(self.down)

    def _advance(self, flow: Flow) -> None:
        """Move bytes until one of the ends stands still, or the flow has ended."""
        move = self._traffic.mover.move
        while flow.state is not FlowState.ENDED:
            stop = move(flow)
            if isinstance(stop, FlowEvent):
                self._happens(flow, stop)
                continue
            if stop is Pause.FULL:
                self._watch_writing(flow.sink)
            elif stop is Pause.TURN_OVER:
                self._take_turns(flow)
            return

    def _watch_writing(self, end: End) -> None:
        if not end.watches_writing:
            end.watches_writing = True
            self._traffic.readiness.watch_writing(end.fd)

    def _take_turns(self, flow: Flow) -> None:
        if flow.state is FlowState.LOST and not self._is_heard(flow):
            self.abort()  # nobody is left to hear it
        else:
            self._traffic.readiness.later(self)

    def _is_heard(self, lost: Flow) -> bool:
        """Whether the source of a flow whose sink is lost has still to take what that one said."""
        other = self.down if lost is self.up else self.up
        return other.state is not FlowState.ENDED or has_unsent(lost.source.socket)

    def _happens(self, flow: Flow, event: FlowEvent) -> None:
        """Go to the state that follows, and tell the ends what it means to them."""
        before = flow.state
        flow.state = TRANSITIONS[before][event]
        if flow.state is FlowState.ENDING and not flow.held and not flow.in_pipe:
            flow.state = TRANSITIONS[FlowState.ENDING][FlowEvent.GIVEN_ALL]
        if flow.state is FlowState.ENDED is not before:
            self._conclude(flow)
        if event is FlowEvent.SOURCE_LOST:
            self._lose(flow.source)
        elif event is FlowEvent.SINK_LOST:
            self._lose(flow.sink)

    def _conclude(self, ended: Flow) -> None:
        ended.drop(self._traffic.pipes)
        if self.up.state is self.down.state:
            self._end()
        else:
            self._close_half(ended.sink)

    def _close_half(self, end: End) -> None:
        """It has been given everything; it may go on speaking.

        A plain close becomes a reset where something unread has come, and a reset drops what is on
        its way: so only our half is closed.
        """
        if not end.is_lost:
            try:
                end.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._lose(end)

    def _lose(self, end: End) -> None:
        """It was reset, or is unreachable: what it said before is still for the other one."""
        if end.is_lost or self._is_over:
            return
        end.is_lost = end.readable = end.hung = True
        other, out, into = self._server, self.up, self.down
        if end is self._server:
            other, out, into = self._client, self.down, self.up
        if self._idle is not None:
            self._idle.discard(self)
            self._idle = None
            self._left.touch(self)
        with suppress(OSError):
            limit_stalls(other.socket, self._stall_timeout)
        into.drop(self._traffic.pipes)
        self._happens(into, FlowEvent.SINK_LOST)
        self._advance(out)
        self._advance(into)

    def stands_still(self) -> None:
        """Nothing has moved for `idle_timeout`; or, one side being lost, for `stall_timeout`."""
        if self._idle is None and not self._is_over and self._is_owed():
            self._left.touch(self)  # the other reads, or the kernel ends it
        else:
            self.abort()

    def _is_owed(self) -> bool:
        """Whether the side that is left has still to take what the lost one said."""
        return self._is_heard(self.up if self._server.is_lost else self.down)

    def abort(self) -> None:
        """Reset both connections."""
        if not self._is_over:
            for end in (self._client, self._server):
                with suppress(OSError):
                    end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.up.state = self.down.state = FlowState.ENDED
            self._end()

    def _end(self) -> None:
        """Close both connections; the kernel sends what it has."""
        self._is_over = True
        traffic = self._traffic
        if self._client_is_copied:
            with suppress(OSError):
                self._client.socket.shutdown(socket.SHUT_RDWR)
        for end in (self._client, self._server):
            traffic.readiness.forget(end.fd)
            end.socket.close()
        self.up.drop(traffic.pipes)
        self.down.drop(traffic.pipes)
        traffic.readiness.finished(self)
        (self._idle or self._left).discard(self)
        self._ended(self)


def limit_stalls(connection: socket.socket, seconds: float) -> None:
    """Have the kernel end a connection whose other end takes nothing of what is sent for long."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def has_unsent(connection: socket.socket) -> bool:
    """Whether the kernel has bytes that the other end has not taken yet."""
    return any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
