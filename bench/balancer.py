"""What a balancer costs: Homing beside HAProxy, in one run and in turn.

    python bench/balancer.py [--quick] [--json FILE] [--svg FILE] [--only PART ...]

HAProxy with its SSL-ID stick table and with round robin, Homing's hand-off and relay, each one
process with one thread, and no balancer at all: same clients, hellos and servers.  The servers are
one light process that does no TLS, so that the balancer is what is measured.  Figures are medians;
CPU is that of the balancer's process, or of the whole machine, by /proc.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.balancing import balancers, measuring
from bench.balancing.balancers import STICK_TABLE, Backend, Balancer
from bench.balancing.hellos import Load, Order, by_id, by_psk
from bench.balancing.measuring import Results
from bench.balancing.report import show_samples
from bench.measuring.figures import Figure, show, write_json
from bench.measuring.picture import bars
from bench.measuring.rounds import Sample, middle
from bench.measuring.versions import heading, program

SERVERS = 4
DOWNLOAD = 64
"""MB of each connection of the part `bulk`."""
VISIT = Order(requests=1)
"""What a client does that comes back: its hello is answered, its request too."""
WORKING = Order(work=300, requests=1)
"""Microseconds: what a full TLS 1.2 handshake costs nginx."""
GB = 1e9
SPLICE = "    option splice-request\n    option splice-response\n"
AUTOMATIC = "    option splice-auto\n"

Contestant = Callable[[Backend], AbstractContextManager[Balancer]]

STICK, ROUND_ROBIN = "HAProxy stick table", "HAProxy round robin"
HAND_OFF, RELAY, DIRECT = "hand-off", "relay", "direct"
ALL: dict[str, Contestant] = {
    STICK: lambda servers: balancers.haproxy(servers, STICK_TABLE),
    ROUND_ROBIN: balancers.haproxy,
    HAND_OFF: balancers.hand_off,
    RELAY: balancers.relay,
    DIRECT: balancers.direct,
}


@attrs.frozen
class Plan:
    """How much is measured."""

    rounds: int = 7
    connections: int = 4000
    downloads: int = 16
    sessions: tuple[int, ...] = (100_000, 1_000_000)


QUICK = Plan(3, 1200, 4, (20_000,))


@attrs.frozen
class Bench:
    """All parts, over the servers of one backend."""

    servers: Backend
    plan: Plan
    PARTS: ClassVar = ("id", "psk", "hello", "log", "work", "bulk", "memory")

    def id(self) -> list[Figure]:
        """Clients that come back with a session ID."""
        results = self._connections(by_id(VISIT), ALL)
        us = _microseconds(results)
        machine = _Figures(results, lambda one: 1e6 * one.machine, "us", "machine CPU a connection")
        rate = _Figures(results, lambda one: one.rate, "/s", "connections/s", more=True)
        p50 = _Figures(results, lambda one: 1e3 * one.p50, "ms", "p50 to the first byte")
        p99 = _Figures(results, lambda one: 1e3 * one.p99, "ms", "p99 to the first byte")
        return [
            us.of(HAND_OFF, STICK, 0.45, 0.30),
            us.of(RELAY, STICK, 2.8, 2.0),
            us.of(HAND_OFF, ROUND_ROBIN),
            us.of(RELAY, ROUND_ROBIN),
            rate.of(HAND_OFF, DIRECT, 0.95, 1.0),
            *(rate.of(*pair) for pair in ((RELAY, DIRECT), (STICK, DIRECT), (HAND_OFF, STICK))),
            *(each.of(one, STICK) for each in (machine, p50, p99) for one in (HAND_OFF, RELAY)),
            _came_home(results, ""),
        ]

    def psk(self) -> list[Figure]:
        """Clients that come back with a PSK identity, in a browser's hello."""
        results = self._connections(by_psk(VISIT), _but(DIRECT, ROUND_ROBIN))
        note = ", 1.9 KB hello with PSK"
        us = _microseconds(results)
        return [us.of(one, STICK, note=note) for one in (HAND_OFF, RELAY)] + [
            _came_home(results, note)
        ]

    def hello(self) -> list[Figure]:
        """The shortest connections that there can be: closed by the server once it has answered."""
        us = self._microseconds(by_id(), _but(DIRECT, ROUND_ROBIN))
        return [us.of(one, STICK, note=", hello and answer alone") for one in (HAND_OFF, RELAY)]

    def log(self) -> list[Figure]:
        """A line in the log for each connection."""
        logging = "log_decisions = true\n"
        contestants: dict[str, Contestant] = {
            STICK: ALL[STICK],
            HAND_OFF: lambda servers: balancers.hand_off(servers, logging),
        }
        us = self._microseconds(by_id(VISIT), contestants)
        return [us.of(HAND_OFF, STICK, note=", with log_decisions")]

    def work(self) -> list[Figure]:
        """Servers that have something to do."""
        results = self._connections(by_id(WORKING), _but(ROUND_ROBIN, RELAY))
        note = f", servers that work {WORKING.work} us a connection"
        rate = _Figures(results, lambda one: one.rate, "/s", "connections/s", more=True)
        return [rate.of(one, DIRECT, note=note) for one in (HAND_OFF, STICK)]

    def bulk(self) -> list[Figure]:
        """Downloads."""
        contestants = {
            RELAY: balancers.relay(self.servers),
            "HAProxy (splice)": balancers.haproxy(self.servers, options=SPLICE),
            "HAProxy (splice-auto)": balancers.haproxy(self.servers, options=AUTOMATIC),
            "HAProxy (copy)": balancers.haproxy(self.servers),
        }
        load, plan = by_id(Order(megabytes=DOWNLOAD)), self.plan
        samples = measuring.bulk(contestants, load, plan.downloads, plan.rounds)
        gigabytes = (DOWNLOAD << 20) / GB
        results = Results(samples, {})
        ms = _Figures(results, lambda one: 1e3 * one.cpu / gigabytes, "ms", "CPU a GB")
        machine = _Figures(
            results, lambda one: 1e3 * one.machine / gigabytes, "ms", "machine CPU a GB"
        )
        splice, *others = list(contestants)[1:]
        return [
            attrs.evolve(ms.of(RELAY, splice, 1.2, 1.0), figure=f"relay CPU a GB ÷ {splice}"),
            *(attrs.evolve(ms.of(RELAY, one), figure=f"relay CPU a GB ÷ {one}") for one in others),
            machine.of(RELAY, splice),
        ]

    def memory(self) -> list[Figure]:
        """What is kept of sessions."""
        contestants = {name: ALL[name](self.servers) for name in (HAND_OFF, STICK)}
        sessions = self.plan.sessions
        grown = measuring.memory(contestants, by_id(), SERVERS, sessions)
        *fewer, last = (
            (count, grown[HAND_OFF][at], grown[STICK][at]) for at, count in enumerate(sessions)
        )
        count, ours, peer = last
        is_all = count == 1_000_000
        unit, scale = ("MB", 1e6) if is_all else (f"B a session, at {count:,}", count)
        name = "balancer memory for {:,} sessions over none".format
        return [
            Figure(name(1_000_000), ours / scale, peer / scale, unit, 0.0, 0.0),
            *(Figure(name(count), a / 1e6, b / 1e6, "MB") for count, a, b in fewer),
        ]

    def _microseconds(self, load: Load, contestants: dict[str, Contestant]) -> _Figures:
        return _microseconds(self._connections(load, contestants))

    def _connections(self, load: Load, contestants: dict[str, Contestant]) -> Results:
        running = {name: one(self.servers) for name, one in contestants.items()}
        plan = self.plan
        results = measuring.connections(running, load, SERVERS, plan.connections, plan.rounds)
        show_samples(load.name, results)
        return results


@attrs.frozen
class _Figures:
    """Figures of one kind, from the medians of all contestants."""

    results: Results
    number: Callable[[Sample], float]
    unit: str
    name: str
    more: bool = False

    def of(
        self,
        ours: str,
        peer: str,
        asked: float | None = None,
        dream: float | None = None,
        note: str = "",
    ) -> Figure:
        """`ours` ÷ `peer`."""
        its, theirs = (middle(self.results.samples[one], self.number) for one in (ours, peer))
        name = f"{self.name}, {ours} ÷ {peer}{note}"
        return Figure(name, its, theirs, self.unit, asked, dream, more_is_better=self.more)


def _microseconds(results: Results) -> _Figures:
    return _Figures(results, lambda one: 1e6 * one.cpu, "us", "balancer CPU a connection")


def _came_home(results: Results, note: str) -> Figure:
    ours, peer = (100 * results.home[one] for one in (HAND_OFF, STICK))
    return Figure(
        f"visits that come home, {HAND_OFF} ÷ {STICK}{note}", ours, peer, "%", more_is_better=True
    )


def _but(*names: str) -> dict[str, Contestant]:
    return {name: one for name, one in ALL.items() if name not in names}


def measure(parts: list[str], plan: Plan) -> list[Figure]:
    """The figures of these parts."""
    with (
        tempfile.TemporaryDirectory(prefix="homing-") as folder,
        balancers.backend(Path(folder), SERVERS) as servers,
    ):
        bench = Bench(servers, plan)
        return [figure for part in parts for figure in getattr(bench, part)()]


def main() -> None:
    """Measure, print, and perhaps write down and draw."""
    parser = argparse.ArgumentParser(
        description="What a balancer costs: Homing beside HAProxy.",
        epilog="example: python bench/balancer.py --quick --only id bulk --json figures.json",
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: a minute at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the ratios here")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        choices=Bench.PARTS,
        metavar="PART",
        help=f"of {', '.join(Bench.PARTS)} [all]",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes end
    program("haproxy")
    title = heading()
    figures = measure(options.only or list(Bench.PARTS), QUICK if options.quick else Plan())
    show(figures, title)
    if options.json:
        write_json(figures, options.json)
    if options.svg:
        drawn = [one for one in figures if one.asked is not None or not one.more_is_better]
        options.svg.write_text(bars(drawn, "Homing's balancer, for one of HAProxy's", title))


if __name__ == "__main__":
    main()
