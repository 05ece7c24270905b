"""One server: nginx, Twisted's own TLS, and Homing's by hand-off and over TCP."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path

import attrs

from bench.measuring.figures import Figure
from bench.tls_clients.client import Kind
from bench.tls_clients.crowd import AT_ONCE
from bench.tls_servers import ours, stock
from bench.tls_servers.contest import (
    CPU,
    HITS,
    MACHINE,
    P50,
    P99,
    RATE,
    Progress,
    Result,
    Size,
    contest,
)
from bench.tls_servers.running import Certificate, Serve

_SERVERS: dict[str, Serve] = {
    "nginx": stock.nginx,
    "Twisted": ours.twisted,
    "hand-off": ours.by_hand_off,
    "TCP": ours.over_tcp,
}
_CLIENTS = 4 * AT_ONCE
_SURE = 0.98
"""Visits that must be resumed, or not, as their kind says; else it is not measured what is said."""


@attrs.frozen
class Handshake:
    """What is measured, and the aims for our server's CPU by nginx'."""

    kind: Kind
    aims: tuple[float, ...] = ()


_TLS12, _TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HANDSHAKES = (
    Handshake(Kind("TLS 1.2 full", _TLS12, tickets=False, returns=False), (1.7, 1.15)),
    Handshake(Kind("TLS 1.2 ticket", _TLS12), (2.5, 1.5)),
    Handshake(Kind("TLS 1.2 session ID", _TLS12, tickets=False)),
    Handshake(Kind("TLS 1.3 full", _TLS13, returns=False), (1.6, 1.05)),
    Handshake(Kind("TLS 1.3 PSK", _TLS13), (1.9, 1.1)),
)


class NotResumed(Exception):
    """Clients were resumed, or were not, against what is to be measured."""


def steps(size: Size) -> int:
    """How often `measure` tells its progress."""
    return len(HANDSHAKES) * len(_SERVERS) * size.rounds


def measure(folder: Path, certificate: Certificate, size: Size, progress: Progress) -> list[Figure]:
    """All figures of one server.  Raises NotResumed."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(serve(folder / name, certificate))
            for name, serve in _SERVERS.items()
        }
        for one in HANDSHAKES:
            results = contest(running, [one.kind] * _CLIENTS, size, progress, one.kind.name)
            _check(one.kind, results)
            figures += _figures(one, results)
    return figures


def _check(kind: Kind, results: dict[str, Result]) -> None:
    for name, result in results.items():
        resumed = result.hit_rate if kind.returns else 1 - result.hit_rate
        if resumed < _SURE:
            raise NotResumed(f"{kind.name} at {name}: {result.hit_rate:.0%} resumed")


def _figures(handshake: Handshake, results: dict[str, Result]) -> list[Figure]:
    name, homing, nginx = handshake.kind.name, results["hand-off"], results["nginx"]
    tcp, twisted = results["TCP"], results["Twisted"]
    return [
        homing.compared(CPU, nginx, f"server CPU, {name} ÷ nginx", *handshake.aims),
        tcp.compared(CPU, nginx, f"server CPU over TCP, {name} ÷ nginx"),
        homing.compared(CPU, twisted, f"server CPU, {name} ÷ stock Twisted"),
        tcp.compared(CPU, twisted, f"server CPU over TCP, {name} ÷ stock Twisted"),
        *(
            homing.compared(each, nginx, f"{each.name}, {name} ÷ nginx")
            for each in (MACHINE, RATE, P50, P99, *([HITS] if handshake.kind.returns else []))
        ),
    ]
