"""End to end: four of Homing's servers behind its balancer, and four nginx behind HAProxy."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.measuring.figures import Figure
from bench.tls_clients.client import Kind
from bench.tls_servers import ours, stock
from bench.tls_servers.contest import CPU, HITS, MACHINE, P50, P99, Progress, Size, contest
from bench.tls_servers.running import Certificate, Serve

_PSK = Kind("TLS 1.3 PSK", ssl.TLSVersion.TLSv1_3)
_TICKET = Kind("TLS 1.2 ticket", ssl.TLSVersion.TLSv1_2)
_ID = Kind("TLS 1.2 session ID", ssl.TLSVersion.TLSv1_2, tickets=False)
_CLIENTS = 8 * [*7 * [_PSK], *2 * [_TICKET], _ID]
"""Of ten clients seven speak TLS 1.3, two come back with a TLS 1.2 ticket, one with its ID."""

_HOMING = "Homing farm"
_PEERS = {"HAProxy round robin + nginx": (1.2, 0.7), "HAProxy stick table + nginx": ()}
"""With what is asked, and dreamt of."""
_FARMS: dict[str, Serve] = {
    _HOMING: ours.farm,
    "HAProxy round robin + nginx": partial(stock.behind_haproxy, stick=False),
    "HAProxy stick table + nginx": partial(stock.behind_haproxy, stick=True),
}


def steps(size: Size) -> int:
    """How often `measure` tells its progress."""
    return len(_FARMS) * size.rounds


def measure(folder: Path, certificate: Certificate, size: Size, progress: Progress) -> list[Figure]:
    """All figures of whole farms."""
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(serve(folder / name.replace(" ", "-"), certificate))
            for name, serve in _FARMS.items()
        }
        results = contest(running, _CLIENTS, size, progress, "farm")
    homing = results[_HOMING]
    return [
        homing.compared(what, results[peer], f"{words}, {_HOMING} ÷ {peer}", *aims)
        for peer, cpu_aims in _PEERS.items()
        for what, words, aims in (
            (CPU, "total CPU a returning visit", cpu_aims),
            (MACHINE, "machine's CPU a returning visit", ()),
            (HITS, "hit rate", ()),
            (P50, "p50 of a returning visit", ()),
            (P99, "p99 of a returning visit", ()),
        )
    ]
