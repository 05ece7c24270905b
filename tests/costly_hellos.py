"""ClientHellos made to cost much, usual ones of the same size, and what reading them costs.

Costs are counted in lines of Python executed, which do not depend on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from types import FrameType
from typing import TYPE_CHECKING

import attrs

from homing.shared.client_hello import ClientHelloReader, NeedMore, Outcome
from tests.sample_hellos import (
    ALPN,
    SESSION_TICKET,
    Extension,
    Parts,
    large_hello,
    message,
    padded_to,
    psk_offer,
    records,
    sample,
    take_apart,
    vector,
    wire_of,
)

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SIZES = (512, 2048, 8192, 16_384)
"""Bytes on the wire of the classes that are compared."""

_OVERHEAD = 5 + 4


def usual(size: int) -> bytes:
    """What a client of today sends, padded to `size` bytes on the wire: a PSK or a ticket."""
    small = sample("openssl-resume-ticket").body
    parts = take_apart(small if size < 2000 else large_hello()[_OVERHEAD:])
    return wire_of(padded_to(parts, size - _OVERHEAD))


@attrs.frozen
class Shape:
    """How many of everything that a client can make many of a hello has."""

    records: int = 1
    """The last ones hold what the others, of one byte each, have left."""
    extensions: int = 0
    """Empty ones."""
    identities: int = 0
    """PSK identities of one byte."""
    protocols: int = 0
    """ALPN names of one byte."""

    @property
    def wire(self) -> bytes:
        """The hello."""
        listed: list[Extension] = [(9000 + n, b"") for n in range(self.extensions)]
        listed.append((SESSION_TICKET, bytes(range(40))))
        if self.protocols:
            listed.append((ALPN, vector(2, b"\1a" * self.protocols)))
        if self.identities:
            listed.append(psk_offer([b"i"] * self.identities, [bytes(32)]))
        whole = message(Parts(session_id=bytes(range(32))).having(*listed).body)
        ones = min(self.records - 1, len(whole) - 1)
        return records(whole, [1] * ones + [1 << 14] * (1 + len(whole) // (1 << 14)))


def filled(size: int) -> dict[str, bytes]:
    """Hellos up to `size` bytes that have one thing as often as they can."""
    families: dict[str, Callable[[int], Shape]] = {
        "ALPN names": lambda n: Shape(protocols=2 * n),
        "extensions": lambda n: Shape(extensions=n),
        "PSK identities": lambda n: Shape(identities=n),
        "records": lambda n: Shape(n, extensions=n // 4),
        "one byte a record": lambda n: Shape(1 << 16, extensions=n),
    }
    return {name: _largest(make, size) for name, make in families.items()}


def _largest(make: Callable[[int], Shape], size: int) -> bytes:
    """By halving: a hello grows with what it has."""
    low, high = 0, size // 3
    while low < high:
        middle = (low + high + 1) // 2
        if len(make(middle).wire) <= size:
            low = middle
        else:
            high = middle - 1
    return make(low).wire


def shapes(size: int, bounds: tuple[int, int, int]) -> Iterator[bytes]:
    """Hellos up to `size` bytes with as many records, extensions and identities as `bounds` say.

    Every mixture of none, half, all but one, all, and one too many.
    """
    choices = ((0, most // 2, most - 1, most, most + 1) for most in bounds)
    for number_of_records, extensions, identities in product(*choices):
        wire = Shape(number_of_records + 1, extensions, identities).wire
        if len(wire) <= size:
            yield wire


def read_at_once(wire: bytes) -> Outcome:
    """Read `wire` as if it all came at once."""
    return ClientHelloReader().feed(wire)


def read_body(body: bytes) -> Outcome:
    """Read the ClientHello with that body."""
    return read_at_once(records(message(body), [1 << 14]))


def read_in_drips(wire: bytes) -> tuple[Outcome, int]:
    """Read `wire` from a client that sends just enough to wake the balancer; how often it does.

    The balancer has the kernel wake it only once as much is there as the reader asks for.
    """
    reader = ClientHelloReader()
    outcome, at, wakes = reader.feed(wire[:1]), 1, 1
    while isinstance(outcome, NeedMore) and at < len(wire):
        end = at + outcome.at_least
        outcome, at, wakes = reader.feed(wire[at:end]), end, wakes + 1
    return outcome, wakes


def lines_of(call: Callable[[], object]) -> int:
    """Lines of Python that `call` executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
