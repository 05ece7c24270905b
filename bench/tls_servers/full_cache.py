"""What a full TLS 1.2 handshake costs a server that has very many sessions cached already."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from secrets import token_bytes

from OpenSSL import SSL

from bench.measuring.figures import Figure
from bench.measuring.rounds import Sample, in_turn, middle
from bench.tls_servers.contest import Progress, Size
from homing.server.tls.context import ServerContext, server_context
from homing.shared.identifiers import LENGTH
from tests.tls import InMemory, issuer, options

SESSIONS = 1_000_000
_PREFIX = b"HOME"
"""All begin with it under the scheme `range`."""


def steps(size: Size) -> int:
    """How often `measure` tells its progress."""
    return 1 + 2 * size.rounds


def measure(size: Size, progress: Progress) -> list[Figure]:
    """Handshakes in memory, in this process, of a server with a full cache and of an empty one.

    So many real handshakes would take half an hour: the cache is filled with the DER of one real
    session under as many drawn IDs.
    """
    progress(f"{SESSIONS:,} sessions")
    contexts = {"full": _filled(), "empty": _context()}
    contestants = {
        name: partial(_handshakes, context.ssl_context, size.visits)
        for name, context in contexts.items()
    }
    samples = in_turn(contestants, size.rounds, lambda name: progress(f"cache: {name}"))
    full, empty = (1e6 * middle(samples[name], lambda one: one.cpu) for name in contexts)
    name = f"full handshake with {SESSIONS:,} cached sessions ÷ with none"
    return [Figure(name, full, empty, "us", 1.05, 1.0)]


def _context() -> ServerContext:
    return server_context(options(session_cache=2 * SESSIONS), issuer())


def _filled() -> ServerContext:
    context = _context()
    pair = InMemory(context.ssl_context, SSL.TLS1_2_VERSION).shake_hands()
    (identifier,) = pair.state.issued
    session = context.cache.get(identifier)
    assert session is not None
    before, after = session.split(identifier)
    for _ in range(SESSIONS):
        drawn = _PREFIX + token_bytes(LENGTH - len(_PREFIX))
        context.cache.put(drawn, before + drawn + after)
    return context


def _handshakes(context: SSL.Context, count: int) -> Sample:
    began = time.perf_counter()
    cpu = sum(_handshake(context) for _ in range(count))
    elapsed = time.perf_counter() - began
    return Sample(connections=count, cpu_process=cpu, cpu_machine=0.0, elapsed=elapsed)


def _handshake(context: SSL.Context) -> float:
    """Shake hands with a client that has no session; the seconds of CPU that the server took."""
    pair = InMemory(context, SSL.TLS1_2_VERSION)
    seconds = 0.0
    for _ in range(3):
        with suppress(SSL.WantReadError):
            pair.client.do_handshake()
        pair.carry(pair.client, pair.server)
        begun = time.process_time()
        with suppress(SSL.WantReadError):
            pair.server.do_handshake()
        seconds += time.process_time() - begun
        pair.carry(pair.server, pair.client)
    return seconds
