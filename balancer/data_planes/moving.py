"""Moves bytes from one socket to another: small exchanges copied, bulk spliced in the kernel.

Of what is read, only what the sink does not take at once is kept: a buffer's length at most, or
what fits into a pipe.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from homing.balancer.data_planes.flow_state import FlowEvent, FlowState, Pause
from homing.balancer.data_planes.spare_pipes import SIZE, KernelPipe, SparePipes

BUFFER = 1 << 16
"""Bytes that are read at once, into one buffer for all."""

SPLICE_FROM = 1 << 17
"""Bytes one way after which a full buffer tells of bulk.

Measured on loopback, CPU of this process a transfer, spliced from the first full buffer on, and
copied: 128 KB 137 and 139 us, 256 KB 161 and 195, 1 MB 386 and 540, 4 MB 1147 and 2209.
"""

_LEAST_SPLICED = 1 << 14
"""Bytes: where a splice finds less, copying costs less."""

_MOST_A_TURN = 1 << 20
"""Bytes of one direction before other connections have their turn."""

_SPLICE_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class End:
    """The socket to the client, or to the server."""

    __slots__ = ("fd", "hung", "is_lost", "readable", "socket", "watches_writing")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.fd = connection.fileno()
        self.readable = False
        """Whether a read may find something."""
        self.hung = False
        """Whether its end is in the kernel: no event tells of it any more."""
        self.is_lost = False
        """Whether it takes nothing any more, and has said what it had to say."""
        self.watches_writing = False


class Flow:
    """One direction: what `source` says is for `sink`."""

    __slots__ = (
        "held",
        "in_pipe",
        "moved",
        "overhear",
        "pipe",
        "sink",
        "source",
        "splices",
        "state",
    )

    def __init__(
        self, source: End, sink: End, overhear: Callable[[bytes], bool] | None = None
    ) -> None:
        self.source = source
        self.sink = sink
        self.overhear = overhear
        """Gets everything that is read, too, until it returns False."""
        self.state = FlowState.FLOWING
        self.moved = 0
        """Bytes read so far."""
        self.held = b""
        """What was read and not taken by the sink yet."""
        self.splices = False
        self.pipe: KernelPipe | None = None
        self.in_pipe = 0
        """Bytes in the pipe."""

    def drop(self, pipes: SparePipes) -> None:
        """Forget what is held."""
        self.held = b""
        if self.pipe is not None:
            pipes.give_back(self.pipe, is_empty=not self.in_pipe)
            self.pipe, self.in_pipe = None, 0


class Mover:
    """Moves what flows; `move` returns why it stopped."""

    def __init__(self, pipes: SparePipes) -> None:
        self._pipes = pipes
        self._buffer = memoryview(bytearray(BUFFER))

    def move(self, flow: Flow) -> FlowEvent | Pause:
        """Move what one turn allows, until one side stands still or ends."""
        if flow.state is FlowState.LOST:
            return self._discard(flow)
        until = flow.moved + _MOST_A_TURN
        while flow.moved < until:
            stop = None
            if flow.held or flow.pipe is not None or flow.state is not FlowState.FLOWING:
                stop = self._give(flow)
            if stop is None:
                stop = self._splice(flow) if flow.splices else self._copy(flow)
            if stop is not None:
                return stop
        return Pause.TURN_OVER

    def _discard(self, flow: Flow) -> FlowEvent | Pause:
        read = self._read(flow.source)
        return Pause.TURN_OVER if isinstance(read, int) else read

    def _read(self, source: End) -> int | FlowEvent | Pause:
        """Read into the buffer: how much, never 0, or why nothing."""
        if not source.readable:
            return Pause.DRY
        try:
            length = source.socket.recv_into(self._buffer)
        except BlockingIOError:
            source.readable = False
            return Pause.DRY
        except OSError:
            return FlowEvent.SOURCE_LOST
        # A short read has emptied it (epoll(7)); what comes later, even an end, is told
        source.readable = length == BUFFER or source.hung
        return length or FlowEvent.SOURCE_ENDED

    def _give(self, flow: Flow) -> FlowEvent | Pause | None:
        """Give the sink what is held; None when there is nothing left, and more may come."""
        try:
            if flow.held:
                flow.held = flow.held[flow.sink.socket.send(flow.held) :]
                if flow.held:
                    return Pause.FULL
            while flow.in_pipe:
                assert flow.pipe is not None
                flow.in_pipe -= os.splice(
                    flow.pipe.reads, flow.sink.fd, flow.in_pipe, flags=_SPLICE_FLAGS
                )
            if flow.pipe is not None and not flow.splices:
                flow.drop(self._pipes)
        except BlockingIOError:
            return Pause.FULL
        except OSError:
            return FlowEvent.SINK_LOST
        return FlowEvent.GIVEN_ALL if flow.state is FlowState.ENDING else None

    def _copy(self, flow: Flow) -> FlowEvent | Pause | None:
        length = self._read(flow.source)
        if not isinstance(length, int):
            return length
        flow.moved += length
        data = self._buffer[:length]
        if flow.overhear is not None:
            if not flow.overhear(bytes(data)):
                flow.overhear = None
        elif length == BUFFER and flow.moved >= SPLICE_FROM:
            flow.splices = True
        try:
            sent = flow.sink.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return FlowEvent.SINK_LOST
        if sent < length:
            flow.held = bytes(data[sent:])
            return Pause.FULL
        return None

    def _splice(self, flow: Flow) -> FlowEvent | Pause | None:
        """Fill the pipe, which is empty; a flow that is no bulk any more gives it back."""
        source = flow.source
        if flow.pipe is None:
            flow.pipe = self._pipes.take()
        if flow.pipe is None:
            flow.splices = False  # until the next full buffer
            return self._copy(flow)
        try:
            length = os.splice(source.fd, flow.pipe.writes, SIZE, flags=_SPLICE_FLAGS)
        except BlockingIOError:
            source.readable = False
            flow.drop(self._pipes)
            return Pause.DRY
        except OSError:
            return FlowEvent.SOURCE_LOST
        if not length:
            return FlowEvent.SOURCE_ENDED
        flow.moved += length
        flow.in_pipe = length
        flow.splices = length >= _LEAST_SPLICED
        return None
