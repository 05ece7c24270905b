"""What returning clients feel while others mean harm.

    python bench/hostile.py [--seconds N] [--rate N] [--relay] [--json FILE] [ATTACK ...]

One real farm; clients return at a steady rate, first alone, then under each attack, then alone
again.  The attackers come from one address, the clients from another.  Floods come twice: as they
are, and cut by `LIMITS`, which SIGHUP sets.  Prints the p99 of a visit and its ratio to the quieter
of the two measurements without an attack, and how many did not resume.  The targets are at most 4
and none, for floods while they are cut.  `--json` writes rows of figure, ours, peer, ratio, unit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGSTOP
from statistics import median

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.attacks import ATTACKS, FLOODS
from bench.measuring.figures import Figure, write_json
from homing.farm.processes.local import LocalFarm, running
from homing.server.tls.factory import HANDSHAKE_TIMEOUT
from homing.shared.addresses import split_host_and_port
from tests.whole.clients import Seen, context, visit

UNREAD = "unread-log"

LIMITS = "max_source_rate = 100\n"
"""What cuts the floods: more than the clients need, who share an address, too."""


@attrs.frozen
class Result:
    """What the returning clients felt in one phase; times in milliseconds."""

    phase: str
    visits: int
    lost: int
    """Visits that did not resume, or failed."""
    middle: float
    p99: float


@attrs.define
class Returning:
    """Clients, each with a session, that return again and again."""

    farm: LocalFarm
    contexts: list[ssl.SSLContext]
    seen: list[Seen]

    @classmethod
    def first_visits(cls, farm: LocalFarm, clients: int) -> Returning:
        """Have each client visit once, half of them by TLS 1.2."""
        contexts = [context(farm.ca, version) for _ in range(clients // 2) for version in _VERSIONS]
        return cls(farm, contexts, [visit(farm.listen, one) for one in contexts])

    def phase(self, name: str, rate: float, seconds: float) -> Result:
        """Return at `rate` a second, whether or not those before are done."""
        begun = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            visits = [
                pool.submit(self._visit, index % len(self.seen), begun + index / rate)
                for index in range(int(rate * seconds))
            ]
            outcomes = [one.result() for one in visits]
        times = sorted(1000 * seconds for seconds, _ in outcomes)
        lost = sum(not resumed for _, resumed in outcomes)
        return Result(name, len(times), lost, median(times), times[int(0.99 * len(times))])

    def _visit(self, client: int, due: float) -> tuple[float, bool]:
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            seen = visit(self.farm.listen, self.contexts[client], self.seen[client].session)
        except (OSError, AssertionError) as error:
            print(f"a visit failed: {error!r}", file=sys.stderr)
            return time.monotonic() - due, False
        self.seen[client] = seen
        return time.monotonic() - due, seen.reused


_VERSIONS = ("TLSv1.2", "TLSv1.3")


@contextmanager
def attacking(name: str, farm: LocalFarm) -> Iterator[None]:
    """The attack of that name, by a process of its own, until the block ends."""
    if name == UNREAD:
        with _unread_log(farm):
            yield
        return
    stop = multiprocessing.Event()
    attacker = multiprocessing.Process(
        target=(ATTACKS | FLOODS)[name], args=(split_host_and_port(farm.listen), stop), daemon=True
    )
    attacker.start()
    try:
        time.sleep(3)  # it has its connections then
        yield
    finally:
        stop.set()
        attacker.join(10)
        attacker.kill()


@contextmanager
def limited(farm: LocalFarm) -> Iterator[None]:
    """`LIMITS` hold until the block ends."""
    path = farm.state_dir / "farm.toml"
    before = path.read_text()
    _renew(farm, before.replace("[balancer]\n", f"[balancer]\n{LIMITS}"))
    try:
        yield
    finally:
        _renew(farm, before)


def _renew(farm: LocalFarm, text: str) -> None:
    (farm.state_dir / "farm.toml").write_text(text)
    farm.process.send_signal(SIGHUP)
    time.sleep(3)  # it reads once a second, and then tells its processes


@contextmanager
def _unread_log(farm: LocalFarm) -> Iterator[None]:
    """Nobody reads what the processes log: their supervisor stands still."""
    os.kill(farm.process.pid, SIGSTOP)
    try:
        yield
    finally:
        os.kill(farm.process.pid, SIGCONT)


def main() -> None:
    """Measure and print."""
    names = [*ATTACKS, UNREAD, *FLOODS]
    parser = argparse.ArgumentParser(description="What returning clients feel under attacks.")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase [15]")
    parser.add_argument("--rate", type=float, default=40.0, help="returns a second [40]")
    parser.add_argument("--clients", type=int, default=40, help="[40]")
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    chosen = options.attacks or names
    if unknown := set(chosen) - set(names):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(names)}")
    threading.stack_size(1 << 20)
    with tempfile.TemporaryDirectory(prefix="homing-") as folder:
        arguments = ["--listen", "tcp:0:interface=127.0.0.1", "--state-dir", folder]
        arguments += ["--workers", "1"]  # all the attack meets one process
        with running(Path(folder), arguments + ["--relay"] * options.relay) as farm:
            clients = Returning.first_visits(farm, options.clients)
            clients.phase("warm-up", options.rate, 3)
            results = list(_phases(farm, clients, chosen, options.rate, options.seconds))
    _show(results)
    if options.json:
        write_json(_figures(results), options.json)


ALONE = "alone"


def _phases(
    farm: LocalFarm, clients: Returning, chosen: list[str], rate: float, seconds: float
) -> Iterator[Result]:
    """The floods come last, and those that are cut before those that are not."""

    def under(name: str, said: str = "") -> Result:
        with attacking(name, farm):
            felt = clients.phase(said or name, rate, seconds)
        time.sleep(1)
        return felt

    yield clients.phase(ALONE, rate, seconds)
    yield from (under(name) for name in chosen if name not in FLOODS)
    floods = [name for name in chosen if name in FLOODS]
    if floods:
        with limited(farm):
            yield from [under(name, f"{name}, cut") for name in floods]
        yield from (under(name) for name in floods)
        time.sleep(HANDSHAKE_TIMEOUT)  # what they have left open is over then
    yield clients.phase(ALONE, rate, seconds)


def _quiet(results: list[Result]) -> float:
    return min(one.p99 for one in results if one.phase == ALONE)


def _show(results: list[Result]) -> None:
    quiet = _quiet(results)
    print(f"{'phase':<16}{'visits':>8}{'lost':>6}{'median ms':>11}{'p99 ms':>9}{'ratio':>7}")
    for one in results:
        numbers = f"{one.visits:>8}{one.lost:>6}{one.middle:>11.1f}{one.p99:>9.1f}"
        print(f"{one.phase:<16}{numbers}{one.p99 / quiet:>7.1f}")


def _figures(results: list[Result]) -> list[Figure]:
    """The peer is the same farm without an attack."""
    quiet = _quiet(results)
    return [
        figure
        for one in results
        if one.phase != ALONE
        for figure in (
            Figure(f"p99 of returning clients under {one.phase} ÷ alone", one.p99, quiet, "ms"),
            Figure(f"lost under {one.phase} ÷ visits", one.lost, one.visits, "visits"),
        )
    ]


if __name__ == "__main__":
    main()
