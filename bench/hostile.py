"""What returning clients feel while others mean harm.

    python bench/hostile.py [--seconds N] [--rate N] [--relay] [--json FILE] [ATTACK ...]

One real farm; clients return at a steady rate, first alone, then under each attack, then alone
again.  Prints the p99 of a visit and its ratio to the quieter of the two measurements without an
attack, the target being at most 4, and how many did not resume, the target being none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import cycle
from multiprocessing.synchronize import Event
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from statistics import median

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homing.farm.processes.local import LocalFarm, running
from homing.shared.addresses import split_host_and_port
from homing.shared.client_hello import MOST_EXTENSIONS, MOST_IDENTITIES, MOST_RECORDS
from tests.costly_hellos import Shape
from tests.sample_hellos import sample
from tests.whole.clients import Seen, context, visit

Attack = Callable[[tuple[str, int], Event], None]

SILENT = 8000
SLOW = 2000
COSTLY_A_SECOND = 90


def silent(address: tuple[str, int], stop: Event) -> None:
    """`SILENT` connections that say nothing; who is closed comes again."""
    held = [_connection(address) for _ in range(SILENT)]
    while not stop.wait(0.5):
        for index, one in enumerate(held):
            if one is None or _is_over(one):
                held[index] = _connection(address)


def slow(address: tuple[str, int], stop: Event) -> None:
    """`SLOW` connections that send a hello, a byte a second each; who is closed comes again."""
    hello = sample("python-first").wire
    held: list[tuple[socket.socket | None, int]] = [(None, 0)] * SLOW
    while not stop.is_set():
        for index, (one, sent) in enumerate(held):
            if index % (SLOW // 20) == 0 and stop.wait(0.05):
                return
            fresh = _connection(address) if one is None or _is_over(one) else one
            at = sent if fresh is one else 0
            with suppress(OSError):
                if fresh is not None:
                    fresh.send(hello[at : at + 1])
            held[index] = fresh, at + 1


def costly(address: tuple[str, int], stop: Event) -> None:
    """`COSTLY_A_SECOND` hellos a second: 64 KB of ALPN names, and the most that is allowed."""
    allowed = Shape(MOST_RECORDS, MOST_EXTENSIONS - 2, MOST_IDENTITIES)
    wires = cycle((Shape(protocols=32_000).wire, allowed.wire))
    following = time.monotonic()
    held: list[socket.socket | None] = []
    while not stop.wait(max(0.0, following - time.monotonic())):
        following += 1 / COSTLY_A_SECOND
        one = _connection(address)
        with suppress(OSError):
            if one is not None:
                one.send(next(wires))
        held.append(one)
        if len(held) > COSTLY_A_SECOND:
            gone = held.pop(0)
            if gone is not None:
                gone.close()


ATTACKS: dict[str, Attack] = {"silent": silent, "slow": slow, "costly": costly}
UNREAD = "unread-log"


def _connection(address: tuple[str, int]) -> socket.socket | None:
    one = socket.socket()
    one.settimeout(2)
    try:
        one.connect(address)
    except OSError:
        one.close()
        return None
    one.setblocking(False)
    return one


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
        target=ATTACKS[name], args=(split_host_and_port(farm.listen), stop), daemon=True
    )
    attacker.start()
    try:
        time.sleep(3)  # it has all its connections then
        yield
    finally:
        stop.set()
        attacker.join(10)
        attacker.kill()


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
    names = [*ATTACKS, UNREAD]
    parser = argparse.ArgumentParser(description="What returning clients feel under attacks.")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase [15]")
    parser.add_argument("--rate", type=float, default=40.0, help="returns a second [40]")
    parser.add_argument("--clients", type=int, default=40, help="[40]")
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
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
            results = [clients.phase("alone", options.rate, options.seconds)]
            for name in chosen:
                with attacking(name, farm):
                    results.append(clients.phase(name, options.rate, options.seconds))
                time.sleep(1)
            results.append(clients.phase("alone", options.rate, options.seconds))
    _show(results)
    if options.json:
        options.json.write_text(json.dumps([attrs.asdict(one) for one in results], indent=1) + "\n")


def _show(results: list[Result]) -> None:
    quiet = min(one.p99 for one in results if one.phase == "alone")
    print(f"{'phase':<14}{'visits':>8}{'lost':>6}{'median ms':>11}{'p99 ms':>9}{'ratio':>7}")
    for one in results:
        numbers = f"{one.visits:>8}{one.lost:>6}{one.middle:>11.1f}{one.p99:>9.1f}"
        print(f"{one.phase:<14}{numbers}{one.p99 / quiet:>7.1f}")


if __name__ == "__main__":
    main()
