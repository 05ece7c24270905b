"""What a farm of 1,000 servers and 100,000 parts costs a balancer.

    python bench/scale.py [--servers N] [--parts N] [--json FILE]

Prints the time and memory of table 130 made from the registry's state, the time of a change, of a
look-up and of the manager's plans, each beside its target.
"""

from __future__ import annotations

import argparse
import json
import sys
import tracemalloc
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from timeit import Timer

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homing.balancer.follower import Follower
from homing.balancer.management.manager import manage
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import FarmValue, ManagerPresence, PartValue, ServerFacts, Wish
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Batch, Item, Transaction
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division, enough_bits

PREFIX = b"HOME"


@attrs.frozen
class Figure:
    """A measurement, and what it should be at most."""

    name: str
    value: float
    unit: str
    target: float | None = None


def state(servers: int, parts: int) -> tuple[Batch, int]:
    """A farm whose servers own parts in turn, as the registry has it; and the division's bits."""
    bits = max(enough_bits(servers), (parts - 1).bit_length())
    names = [f"s{n}" for n in range(servers)]
    values: dict[str, object] = {keys.FARM: FarmValue("range", PREFIX.hex(), bits)}
    for name in names:
        values[keys.wish(name)] = Wish(ServerFacts(f"unix:{name}.sock"))
    for number, owner in zip(range(parts), cycle(names), strict=False):
        values[keys.part(number)] = PartValue(owner)
    items = {key: Item(encode(value), 1) for key, value in values.items()}
    return Batch(1, items, is_whole=True), bits


def follower() -> Follower:
    """One that follows nothing yet."""
    return Follower(lambda names: {}, print)


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = perf_counter()
    call()
    return perf_counter() - begun


def measure(servers: int, parts: int) -> list[Figure]:
    """All figures."""
    whole, bits = state(servers, parts)
    view, luck = View(print), Random(130)
    reading = timed(lambda: view.apply(whole))
    changed = frozenset(whole.puts)
    building = min(timed(lambda: follower().follow(view, changed)) for _ in range(3))
    tracemalloc.start()
    one = follower()
    one.follow(view, changed)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    def change(revision: int) -> float:
        key = keys.part(luck.randrange(parts))
        batch = Batch(revision, {key: Item(encode(PartValue("s1")), revision)})
        return timed(lambda: one.follow(view, view.apply(batch)))

    changes = [change(revision) for revision in range(2, 52)]
    find = one.routes.table.find
    division = Division(PREFIX, bits)
    known = [
        (division.start(luck.randrange(parts)) + luck.randrange(division.size)).to_bytes(32, "big")
        for _ in range(1000)
    ]
    following = cycle(known).__next__
    timer = Timer(lambda: find(following()))
    look_up = min(timer.repeat(5, 50_000)) / 50_000
    return [
        Figure("state read into a view", reading, "s"),
        Figure("table built", building, "s", 1),
        Figure("table's memory", size / 1e6, "MB", 50),
        Figure("a change of one part applied, median", median(changes) * 1e3, "ms", 20),
        Figure("a change of one part applied, worst", max(changes) * 1e3, "ms", 20),
        Figure("a look-up", look_up * 1e6, "us", 2),
    ]


def plans(servers: int, parts: int) -> list[Figure]:
    """What the manager's plans take, their transactions made."""
    whole, _ = state(servers, parts)
    me = ManagerPresence("b1", "x")
    puts = {**whole.puts, keys.MANAGER: Item(encode(me), 1)}
    unassigned = {key: item for key, item in puts.items() if not key.startswith("parts/")}
    joining = {keys.wish("another"): Item(encode(Wish(ServerFacts("unix:another.sock"))), 2)}
    view = View(print)
    view.apply(Batch(1, unassigned, is_whole=True))

    def plan() -> list[Transaction]:
        return list(manage(view, me, SCHEMES["range"], frozenset()))

    def take(transactions: list[Transaction]) -> None:
        for revision, one in enumerate(transactions, view.revision + 1):
            view.apply(Batch(revision, {key: Item(its, revision) for key, its in one.puts.items()}))

    first = timed(plan)
    take(plan())
    if plan():
        raise SystemExit("the plan does not come to rest")
    settled = timed(plan)
    view.apply(Batch(view.revision + 1, joining))
    join = timed(plan)
    return [
        Figure("a plan of all parts", first, "s", 2),
        Figure("a plan when nothing is to be done", settled, "s", 2),
        Figure("a plan for one server more", join, "s", 2),
    ]


def main() -> None:
    """Measure, print and perhaps write the figures down."""
    parser = argparse.ArgumentParser(description="What a large farm costs a balancer.")
    parser.add_argument("--servers", type=int, default=1000, metavar="N")
    parser.add_argument("--parts", type=int, default=100_000, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    arguments = parser.parse_args()
    figures = measure(arguments.servers, arguments.parts)
    figures += plans(arguments.servers, arguments.parts)
    print(f"{arguments.servers:,} servers, {arguments.parts:,} parts")
    for one in figures:
        target = "" if one.target is None else f"(at most {one.target:g})"
        print(f"{one.name:<40}{one.value:>10.3f} {one.unit:<3}{target}")
    if arguments.json:
        data = [attrs.asdict(one) for one in figures]
        arguments.json.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()
