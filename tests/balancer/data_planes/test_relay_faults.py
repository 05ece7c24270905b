"""Relay under random faults: whatever the two sides do, bytes are neither lost nor repeated.

Conversations at random, many at once: bulk and trickles both ways, half-closes, resets in
mid-transfer, readers that are slow or stop for a while, tiny buffers.
"""

from __future__ import annotations

import fcntl
import random
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest

from homing.balancer.data_planes.relay import Relay
from tests.balancer.few_descriptors import few_descriptors
from tests.balancer.running import HELLO, TCPServer, balancing, wait_up
from tests.reactor import WITHIN, call, eventually
from tests.tls import read_exactly, reset

AT_ONCE = 8
NUMBERS = [
    range(1000, 1016),
    pytest.param(range(2000, 2200), marks=[pytest.mark.deep, pytest.mark.timeout(600)]),
]
"""Of the conversations that are played."""
_FOR_TINY_BUFFERS = 400_000
"""Bytes: through windows of 2 KB, the kernel delays each acknowledgement for 40 ms."""
_NUMBER = struct.Struct("!I")


@attrs.frozen
class Part:
    """What one side of a conversation does."""

    says: bytes
    chunk: int
    """Bytes it says at once."""
    pauses: float
    """Seconds, now and then, between two chunks or two reads."""
    buffers: int
    """Bytes of its socket's buffers; 0: as they are."""
    resets: bool
    """Whether it resets once the balancer has all that it says; else it ends its half, and reads
    what the other says to the end."""


def part(fate: random.Random) -> Part:
    """What one side does, at random."""
    size = fate.choice([0, 5, 3000, 70_000, 200_000, 400_000, 3_000_000])
    return Part(
        says=fate.randbytes(size),
        chunk=fate.choice([1000, 20_000, 1 << 20]) if size < 500_000 else 1 << 18,
        pauses=fate.choice([0, 0, 0.003]),
        buffers=fate.choice([0, 2048, 20_000]),
        resets=fate.random() < 0.3,
    )


def parts(number: int) -> tuple[Part, Part]:
    """What the client, and the server, of a conversation do: always the same."""
    fate = random.Random(number)
    client, server = part(fate), part(fate)
    if max(len(client.says), len(server.says)) > _FOR_TINY_BUFFERS:
        return attrs.evolve(client, buffers=0), attrs.evolve(server, buffers=0)
    return client, server


class Player:
    """Plays one side's part on `connection`, which it then closes; `heard` is what it was told."""

    def __init__(self, connection: socket.socket, plays: Part) -> None:
        self.heard = bytearray()
        self._connection = connection
        self._plays = plays
        self._has_left = False
        connection.settimeout(WITHIN)
        if plays.buffers:
            for which in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                connection.setsockopt(socket.SOL_SOCKET, which, plays.buffers)

    def play(self) -> None:
        with self._connection:
            hearing = threading.Thread(target=self._hear, daemon=True)
            hearing.start()
            with suppress(OSError):  # the other side may have reset
                self._say()
            if self._plays.resets:
                self._has_left = True
                reset(self._connection)
            hearing.join(2 * WITHIN)
            assert not hearing.is_alive(), "no end comes"

    def _say(self) -> None:
        says = memoryview(self._plays.says)
        for at in range(0, len(says), self._plays.chunk):
            self._connection.sendall(says[at : at + self._plays.chunk])
            time.sleep(self._plays.pauses if at % 7 == 0 else 0)
        if self._plays.resets:
            self._wait_until_sent()
        else:
            self._connection.shutdown(socket.SHUT_WR)

    def _wait_until_sent(self) -> None:
        """What a reset drops is only what the balancer has not got."""
        until = time.monotonic() + WITHIN
        while not self._is_reset() and any(
            fcntl.ioctl(self._connection, termios.TIOCOUTQ, bytes(4))
        ):
            assert time.monotonic() < until, "the balancer does not take it"
            time.sleep(0.002)

    def _is_reset(self) -> bool:
        """Whether the other side was first (TCP_INFO, tcpi_state)."""
        closed = 7
        return self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == closed

    def _hear(self) -> None:
        with suppress(OSError, ValueError):  # reset, by this side or the other
            while self._may_hear() and (data := self._connection.recv(50_000)):
                self.heard += data
                time.sleep(self._plays.pauses)

    def _may_hear(self) -> bool:
        """Wait for more, but not for one's own reset: that wakes no reader."""
        while not select.select([self._connection], [], [], 0.05)[0]:
            if self._has_left:
                return False
        return True


class Stage:
    """Servers that play their parts, whatever comes to `server`."""

    def __init__(self, server: TCPServer, count: int) -> None:
        self.heard: dict[int, bytes] = {}
        """By the number of the conversation."""
        self._server = server
        self._count = count
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._opened = threading.Thread(target=self._serve, daemon=True)
        self._opened.start()

    def _serve(self) -> None:
        with suppress(OSError):
            for _ in range(self._count):
                self._pool.submit(self._play, self._server.accept())

    def _play(self, connection: socket.socket) -> None:
        connection.settimeout(WITHIN)
        begins = read_exactly(connection, len(HELLO) + _NUMBER.size)
        assert begins.startswith(HELLO)
        (number,) = _NUMBER.unpack(begins[len(HELLO) :])
        player = Player(connection, parts(number)[1])
        player.play()
        self.heard[number] = bytes(player.heard)

    def close(self) -> None:
        self._opened.join(WITHIN)
        self._pool.shutdown()


def converse(address: tuple[str, int], number: int) -> bytes:
    """Play a conversation's client; what it heard."""
    connection = socket.create_connection(address, WITHIN)
    connection.sendall(HELLO + _NUMBER.pack(number))
    player = Player(connection, parts(number)[0])
    player.play()
    return bytes(player.heard)


@contextmanager
def stage(server: TCPServer, count: int) -> Iterator[Stage]:
    opened = Stage(server, count)
    try:
        yield opened
    finally:
        opened.close()


def check(said: Part, hearer: Part, heard: bytes, who: str) -> None:
    """What was heard is what was said, from the beginning; and all of it where nobody reset."""
    assert said.says.startswith(heard), f"{who}: bytes lost, repeated or out of order"
    if not hearer.resets:
        assert len(heard) == len(said.says), f"{who}: {len(heard)} of {len(said.says)} bytes"


def play_all(server: TCPServer, address: tuple[str, int], numbers: range) -> None:
    with stage(server, len(numbers)) as plays, ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(
            zip(numbers, pool.map(lambda one: converse(address, one), numbers), strict=True)
        )
        eventually(lambda: len(plays.heard) == len(numbers), "all conversations end")
    for number in numbers:
        client, served = parts(number)
        check(client, served, plays.heard[number], f"{number}, to the server")
        check(served, client, told[number], f"{number}, to the client")


@pytest.mark.parametrize("numbers", NUMBERS)
def test_no_byte_is_lost_or_repeated_whatever_the_two_sides_do(numbers: range) -> None:
    with (
        TCPServer() as server,
        balancing({"s1": server.way()}) as (balancer, address),
    ):
        wait_up(balancer, "s1")
        play_all(server, address, numbers)
        relay = balancer.planes["s1"]
        assert isinstance(relay, Relay)
        eventually(lambda: relay.active == 0)
        assert call(lambda: balancer._traffic.pipes._lent) == 0


@pytest.mark.parametrize("numbers", NUMBERS)
def test_nor_when_descriptors_run_out_in_mid_transfer(tmp_path: Path, numbers: range) -> None:
    log = tmp_path / "log"
    with (
        TCPServer() as server,
        few_descriptors(f"{server.host}:{server.port}", log, limit=26) as address,
    ):
        play_all(server, address, numbers)
    said = log.read_text()
    assert "accepting pauses" in said, "there were enough"
    assert "fail" not in said
