"""Those who mean harm: each an attack on a balancer's address until it is told to stop."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from multiprocessing.synchronize import Event

from homing.shared.client_hello import MOST_EXTENSIONS, MOST_IDENTITIES, MOST_RECORDS
from tests.costly_hellos import Shape
from tests.sample_hellos import sample
from tests.tls import reset

Attack = Callable[[tuple[str, int], Event], None]

SILENT = 8000
SLOW = 2000
COSTLY_A_SECOND = 90
FLOOD_A_SECOND = 1000
ATTACKER = "127.0.0.9"
HELLO = sample("python-first").wire


def silent(address: tuple[str, int], stop: Event) -> None:
    """`SILENT` connections that say nothing; who is closed comes again."""
    held = [_connection(address) for _ in range(SILENT)]
    while not stop.wait(0.5):
        for index, one in enumerate(held):
            if one is None or _is_over(one):
                held[index] = _connection(address)


def slow(address: tuple[str, int], stop: Event) -> None:
    """`SLOW` connections that send a hello, a byte a second each; who is closed comes again."""
    held: list[tuple[socket.socket | None, int]] = [(None, 0)] * SLOW
    while not stop.is_set():
        for index, (one, sent) in enumerate(held):
            if index % (SLOW // 20) == 0 and stop.wait(0.05):
                return
            fresh = _connection(address) if one is None or _is_over(one) else one
            at = sent if fresh is one else 0
            with suppress(OSError):
                if fresh is not None:
                    fresh.send(HELLO[at : at + 1])
            held[index] = fresh, at + 1


def costly(address: tuple[str, int], stop: Event) -> None:
    """`COSTLY_A_SECOND` hellos a second: 64 KB of ALPN names, and the most that is allowed."""
    allowed = Shape(MOST_RECORDS, MOST_EXTENSIONS - 2, MOST_IDENTITIES)
    wires = Shape(protocols=32_000).wire, allowed.wire
    _pour(address, stop, wires, rate=COSTLY_A_SECOND, kept=COSTLY_A_SECOND)


def flood(address: tuple[str, int], stop: Event) -> None:
    """`FLOOD_A_SECOND` new clients a second, each of which wants a full handshake and goes."""
    _pour(address, stop, (HELLO,), rate=FLOOD_A_SECOND, kept=100)


def headless(address: tuple[str, int], stop: Event) -> None:
    """As many with the beginning of a hello, `SILENT` of which wait for nothing to follow."""
    _pour(address, stop, (HELLO[:40],), rate=FLOOD_A_SECOND, kept=SILENT)


def hold(address: tuple[str, int], stop: Event) -> None:
    """As many with a whole hello, `SILENT` of which stay in the middle of their handshake."""
    _pour(address, stop, (HELLO,), rate=FLOOD_A_SECOND, kept=SILENT)


def _pour(
    address: tuple[str, int], stop: Event, wires: tuple[bytes, ...], rate: float, kept: int
) -> None:
    """`rate` connections a second that send one of `wires`; so many of the latest stay open."""
    following = time.monotonic()
    held: deque[socket.socket] = deque()
    for wire in cycle(wires):
        if stop.wait(max(0.0, following - time.monotonic())):
            return
        following = max(following + 1 / rate, time.monotonic() - 1)  # at most 1 s is caught up
        one = _connection(address)
        if one is None:
            continue
        with suppress(OSError):
            one.send(wire)
        held.append(one)
        if len(held) > kept:
            reset(held.popleft())  # no TIME_WAIT: ports do not run out


def _is_over(one: socket.socket) -> bool:
    try:
        over = one.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        over = True
    if over:
        one.close()
    return over


ATTACKS: dict[str, Attack] = {"silent": silent, "slow": slow, "costly": costly}
FLOODS: dict[str, Attack] = {"flood": flood, "headless": headless, "hold": hold}


def _connection(address: tuple[str, int]) -> socket.socket | None:
    one = socket.socket()
    one.settimeout(2)
    try:
        one.bind((ATTACKER, 0))
        one.connect(address)
    except OSError:
        one.close()
        return None
    one.setblocking(False)
    return one
