"""What a larger table 130, and more servers, cost a balancer.

    python bench/growth.py [--quick] [--json FILE] [--svg FILE]

Tables of 4 to 100,000 entries, of 4 and of 64 servers, each in a `homing balancer` of its own: CPU
a connection (in turn, medians), memory, and the CPU time from its start until it answers.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.balancing.balancers import Backend, Balancer, backend, homing_balancer
from bench.balancing.growth_picture import Line, Panel, picture
from bench.balancing.hellos import ID_LENGTH, Order, by_id, prefix
from bench.balancing.measuring import CLIENTS, Visits
from bench.measuring.cpu import memory_of
from bench.measuring.figures import Figure, short, write_json
from bench.measuring.rounds import in_turn, middle, progress_bar
from bench.measuring.versions import heading
from homing.farm.commands.parsing import show

SERVERS = (4, 64)
ENTRIES = (4, 100, 10_000, 100_000)
VISIT = Order(requests=1)


@attrs.frozen
class Size:
    """Of a farm."""

    servers: int
    entries: int
    """Of its table; each server has one at least."""

    def __str__(self) -> str:
        return f"{self.entries:,} entries, {self.servers} servers"

    def entry(self, number: int) -> bytes:
        """What all identifiers in an entry begin with."""
        return prefix(1 + number % self.servers) + number.to_bytes(4, "big")

    def clients(self) -> list[bytes]:
        """Identifiers from all over the table."""
        step = max(1, self.entries // CLIENTS)
        starts = [self.entry(number) for number in range(0, self.entries, step)]
        return [one + os.urandom(ID_LENGTH - len(one)) for one in starts]

    def sections(self, servers: Backend) -> Iterator[str]:
        """The servers, as farm.toml has them."""
        for server in range(1, self.servers + 1):
            numbers = range(server - 1, self.entries, self.servers)
            ids = ", ".join(f'{{ prefix = "{self.entry(at).hex()}" }}' for at in numbers)
            address = f"unix:{servers.folder}/s{server}.sock"
            yield f'[[server]]\nname = "s{server}"\naddress = "{address}"\nids = [{ids}]\n'


@attrs.frozen
class Cost:
    """What a balancer of one size costs."""

    size: Size
    cpu: float
    """Microseconds a connection."""
    memory: float
    """MB."""
    start: float
    """Seconds of CPU until it answers."""


def sizes() -> list[Size]:
    """All that are measured."""
    return [Size(servers, max(servers, entries)) for servers in SERVERS for entries in ENTRIES]


@contextmanager
def balancer(size: Size, servers: Backend) -> Iterator[Balancer]:
    """A balancer of that size."""
    with homing_balancer(servers.folder, "", "".join(size.sections(servers))) as one:
        yield one


def measure(rounds: int, connections: int) -> list[Cost]:
    """The costs of all sizes."""
    load = by_id(VISIT)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homing-")))
        servers = stack.enter_context(backend(folder, max(SERVERS)))
        begin = stack.enter_context(progress_bar((1 + rounds) * len(sizes())))
        running: dict[str, Balancer] = {}
        for size in sizes():
            begin(f"start: {size}")
            running[str(size)] = stack.enter_context(balancer(size, servers))
        visits = {
            str(size): Visits(running[str(size)], load, size.clients(), connections)
            for size in sizes()
        }
        samples = in_turn(visits, rounds, begin)
        if astray := [name for name, one in visits.items() if one.came_home < one.visits]:
            raise SystemExit(f"not all clients came home: {', '.join(astray)}")
        return [
            Cost(
                size,
                middle(samples[str(size)], lambda one: 1e6 * one.cpu),
                memory_of(running[str(size)].pids) / 1e6,
                running[str(size)].start_cpu,
            )
            for size in sizes()
        ]


KINDS = (
    ("balancer CPU a connection", "us", lambda one: one.cpu),
    ("balancer memory", "MB", lambda one: one.memory),
    ("CPU of a balancer's start", "s", lambda one: one.start),
)


def figures(costs: list[Cost]) -> list[Figure]:
    """Each size beside the smallest with as many servers."""
    found = []
    for name, unit, number in KINDS:
        for servers in SERVERS:
            least, *larger = [one for one in costs if one.size.servers == servers]
            for one in larger:
                sizes_of_both = f"{one.size.entries:,} entries ÷ {least.size.entries}"
                title = f"{name}, {servers} servers, {sizes_of_both}"
                found.append(Figure(title, number(one), number(least), unit))
    return found


def draw(costs: list[Cost], beneath: str) -> str:
    """All costs as a picture."""
    panels = [
        Panel(
            f"{name}, {unit}",
            [
                Line(
                    f"{servers} servers",
                    [(c.size.entries, number(c)) for c in costs if c.size.servers == servers],
                )
                for servers in SERVERS
            ],
        )
        for name, unit, number in KINDS
    ]
    return picture("What a larger table costs a balancer", beneath, panels)


def main() -> None:
    """Measure, print, and perhaps write down and draw."""
    parser = argparse.ArgumentParser(
        description="What a larger table, and more servers, cost a balancer.",
        epilog="example: python bench/growth.py --quick --svg growth.svg",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and connections")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes end
    title = heading()
    costs = measure(*((3, 600) if options.quick else (7, 4000)))
    table = Table(title=title)
    for column in ("servers", "entries", "CPU us a connection", "memory MB", "start CPU s"):
        table.add_column(column, justify="right")
    for one in costs:
        numbers = (short(each) for each in (one.cpu, one.memory, one.start))
        table.add_row(str(one.size.servers), f"{one.size.entries:,}", *numbers)
    show(table)
    if options.json:
        write_json(figures(costs), options.json)
    if options.svg:
        options.svg.write_text(draw(costs, title))


if __name__ == "__main__":
    main()
