"""What the pure parts of routing cost a connection.

    python bench/pure.py [--json FILE]

Prints the lowest and the median time of several repeats, in microseconds, beside the target.  Of
hellos made to cost much it prints how many times the median of a usual one they cost, too.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from timeit import Timer

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from homing.balancer.policies import RoundRobin
from homing.balancer.routing import Rules, decide, decide_usual
from homing.balancer.table import Entry, Table
from homing.farm.config.keys import AESBlocks
from homing.server.identifiers.issuer import Issuer
from homing.shared.by_function import OwnerFunction
from homing.shared.candidates import Carrier, candidates
from homing.shared.client_hello import (
    MOST_EXTENSIONS,
    MOST_IDENTITIES,
    MOST_RECORDS,
    ClientHello,
    ClientHelloReader,
)
from homing.shared.id_sets import IdList, IdRange, IdSet, MandatoryBits
from homing.shared.identifiers import LENGTH
from homing.shared.record import Record
from homing.shared.schemes.base import Need
from homing.shared.schemes.bits import patterns
from homing.shared.schemes.example_function import by_third_byte
from homing.shared.schemes.function import UserFunction
from homing.shared.schemes.hash import Rendezvous
from homing.shared.schemes.keyed import KeyedBlocks
from homing.shared.schemes.list import lists as scattered
from homing.shared.schemes.seeded import SeededMACs
from homing.shared.usual_hello import read_usual
from tests.assigning import by_function, free, records
from tests.costly_hellos import (
    SIZES,
    Shape,
    filled,
    lines_of,
    read_at_once,
    read_in_drips,
    shapes,
    usual,
)
from tests.sample_hellos import large_hello, sample

REPEATS = 15
ENTRIES = 10_000
SERVERS = tuple(f"s{n}" for n in range(100))


@attrs.frozen
class Result:
    """The cost of one call, in microseconds."""

    name: str
    lowest: float
    middle: float
    target: float | None
    times: float | None = None
    """Of the cost of a usual input; at most 20 is the target."""


def measure(name: str, call: Callable[[], object], target: float | None = None) -> Result:
    """Repeat `call` often enough to tell its cost."""
    timer = Timer(call)
    number, _ = timer.autorange()
    number = max(1, number // 8)
    costs = [cost / number * 1e6 for cost in timer.repeat(REPEATS, number)]
    return Result(name, min(costs), median(costs), target)


def ranges(luck: Random) -> list[IdSet]:
    """`ENTRIES` ranges side by side, each with a common prefix of eight bytes."""
    start = luck.randrange(1 << 32) << 32
    return [IdRange.of_prefix((start + n).to_bytes(8, "big")) for n in range(ENTRIES)]


def lists(luck: Random) -> list[IdSet]:
    """`ENTRIES` lists of one identifier."""
    return [IdList([luck.randbytes(LENGTH)]) for _ in range(ENTRIES)]


def mixed(luck: Random) -> list[IdSet]:
    """Ranges and lists, and mandatory bits with eight different masks."""
    bits = [
        MandatoryBits(b"\xff\xff" + bytes(n) + b"\xff", b"M" + bytes([n]) + bytes(n) + b"\x01")
        for n in range(8)
    ]
    half = (ENTRIES - len(bits)) // 2
    return [*ranges(luck)[:half], *lists(luck)[:half], *bits]


def table_of(sets: list[IdSet]) -> Table:
    """The sets dealt out to the servers in turn."""
    return Table(tuple(map(Entry, cycle(SERVERS), sets)))


def look_up(table: Table, identifiers: list[bytes]) -> Callable[[], object]:
    """A call that looks up the next of `identifiers`."""
    following = cycle(identifiers).__next__
    find = table.find
    return lambda: find(following())


def drawn(records: Mapping[str, Record], luck: Random) -> list[bytes]:
    """What servers, each of them as often, give out."""
    names = luck.choices(list(records), k=200)
    return [records[name].draw(luck.randrange, free) for name in names]


def schemes(luck: Random, strangers: list[bytes]) -> list[Result]:
    """The look-up of every scheme but ``range``: of what servers gave out, and of random IDs."""
    four = SERVERS[:4]
    keys = [AESBlocks(luck.randbytes(16)) for _ in range(2)]

    def seeded(servers: tuple[str, ...]) -> Mapping[str, Record]:
        return by_function(SeededMACs({one: luck.randbytes(32) for one in servers}), servers)

    def keyed(count: int) -> Mapping[str, Record]:
        return by_function(KeyedBlocks(SERVERS, keys[:count]), SERVERS)

    names = ("s1", "s2", "s3", "s4")
    own = by_function(UserFunction(by_third_byte, names, print), names)
    listed = records(scattered([Need(server) for server in SERVERS], ENTRIES // 10))
    cases: list[tuple[str, Mapping[str, Record], float | None]] = [
        ("bits, 4 servers", records(patterns(four)), None),
        ("bits, 100 servers", records(patterns(SERVERS)), None),
        (f"list, 100 servers, {ENTRIES // 10:,} each", listed, None),
        ("hash, 4 servers", by_function(Rendezvous(four), four), None),
        ("hash, 100 servers", by_function(Rendezvous(SERVERS), SERVERS), None),
        ("seeded, 4 servers", seeded(four), None),
        ("seeded, 100 servers", seeded(SERVERS), 500),
        ("keyed, 100 servers, 1 key", keyed(1), 15),
        ("keyed, 100 servers, 2 keys", keyed(2), 15),
        ("function, the example", own, None),
    ]
    found = []
    for name, owners, target in cases:
        table = Table.of_records(owners)
        found += [
            measure(f"{name}: hit", look_up(table, drawn(owners, luck)), target),
            measure(f"{name}: miss", look_up(table, strangers), target),
        ]
    return found


def costly_hellos() -> list[Result]:
    """Usual hellos of every size, and beside them the worst that a client can make of it."""
    found = []
    for size in SIZES:
        mixtures = list(shapes(size, (MOST_RECORDS, MOST_EXTENSIONS, MOST_IDENTITIES)))
        worst = max(mixtures, key=lambda wire: lines_of(partial(read_at_once, wire)))
        drips = max(mixtures, key=lambda wire: read_in_drips(wire)[1])
        costly: dict[str, Callable[[], object]] = {
            f"{name}, {len(wire):,} bytes": partial(read_at_once, wire)
            for name, wire in {**filled(size), "worst mixture": worst}.items()
        }
        wakes = read_in_drips(drips)[1]
        costly[f"{len(drips):,} bytes in {wakes} drips"] = partial(read_in_drips, drips)
        of_class = measure(f"hello up to {size:,}: usual", partial(read_at_once, usual(size)))
        found += [of_class, *_beside(of_class, f"hello up to {size:,}: ", costly)]
    return found


def costly_decisions(luck: Random) -> list[Result]:
    """Where a hello goes that brings all it can, none of it known, beside a usual stranger's."""
    few, many = (parse(Shape(identities=count).wire) for count in (1, MOST_IDENTITIES))
    keys = [AESBlocks(luck.randbytes(16)) for _ in range(2)]
    found = []
    functions: dict[str, OwnerFunction] = {
        "seeded": SeededMACs({server: luck.randbytes(32) for server in SERVERS}),
        "keyed": KeyedBlocks(SERVERS, keys),
    }
    for scheme, function in functions.items():
        rules = Rules(Table.of_records(by_function(function, SERVERS)), RoundRobin())
        name = f"decide, {scheme}: "
        of_class = measure(f"{name}usual", partial(decide, rules, few, SERVERS, "192.0.2.1"))
        most = partial(decide, rules, many, SERVERS, "192.0.2.1")
        found += [of_class, *_beside(of_class, name, {"all it can bring": most})]
    return found


def _beside(
    of_class: Result, start: str, costly: Mapping[str, Callable[[], object]]
) -> list[Result]:
    measured = [measure(start + name, call) for name, call in costly.items()]
    return [attrs.evolve(one, times=one.middle / of_class.middle) for one in measured]


def parse(wire: bytes) -> ClientHello:
    """The hello in `wire`."""
    hello = ClientHelloReader().feed(wire)
    assert isinstance(hello, ClientHello), hello
    return hello


def results() -> list[Result]:
    """All measurements."""
    luck = Random(130)
    range_sets, list_sets = ranges(luck), lists(luck)
    by_range, by_list, by_all = map(table_of, (range_sets, list_sets, mixed(luck)))
    strangers = [luck.randbytes(LENGTH) for _ in range(1000)]
    known = [one.first for one in luck.sample(range_sets, 1000)]
    listed = [one.first for one in luck.sample(list_sets, 1000)]
    large, small = large_hello(), sample("openssl-resume-sid").wire
    pieces = [large[:1460], large[1460:]]
    resuming, stranger = parse(large), parse(small)
    rules = Rules(by_range, RoundRobin())
    owned = attrs.evolve(stranger, session_id=known[0])
    brought = [(Carrier.SESSION_ID, owned.session_id)]
    record = Record(tuple(range_sets[:3]))
    first = range_sets[0]
    issuer = Issuer(Record((first,)), session_lifetime=7200)
    few = IdList(luck.randbytes(LENGTH) for _ in range(50_000))
    issuer_of_few = Issuer(Record((few,)), session_lifetime=0.05)

    def in_pieces() -> object:
        reader = ClientHelloReader()
        return [reader.feed(piece) for piece in pieces]

    return [
        measure(f"table: hit, {ENTRIES:,} ranges", look_up(by_range, known), 2),
        measure(f"table: miss, {ENTRIES:,} ranges", look_up(by_range, strangers), 2),
        measure(f"table: hit, {ENTRIES:,} lists", look_up(by_list, listed), 2),
        measure("table: miss, ranges, lists and 8 masks", look_up(by_all, strangers), 2),
        measure(f"parse: {len(large):,} bytes, TLS 1.3, PSK", lambda: parse(large), 30),
        measure(f"parse: {len(large):,} bytes in two reads", in_pieces),
        measure(f"parse: {len(small):,} bytes, TLS 1.2, session ID", lambda: parse(small)),
        measure(f"usual: {len(large):,} bytes, TLS 1.3, PSK", lambda: read_usual(large), 5),
        measure(f"usual: {len(small):,} bytes, TLS 1.2, session ID", lambda: read_usual(small), 3),
        measure("candidates: PSK and session ID", lambda: candidates(resuming)),
        measure("decide: owner by session ID", lambda: decide(rules, owned, SERVERS, "192.0.2.1")),
        measure(
            "decide, usual: owner by session ID",
            lambda: decide_usual(rules, brought, SERVERS, "192.0.2.1", 0.0),
        ),
        measure("decide: PSK of a stranger", lambda: decide(rules, resuming, SERVERS, "192.0.2.1")),
        measure("record.draw: 32 bytes", lambda: record.draw(luck.randrange, free)),
        measure("record.draw: 16 bytes", lambda: record.draw(luck.randrange, free, 16)),
        measure("issuer: a session ID", lambda: issuer.session_id(free)),
        measure("issuer: a ticket's key name", issuer.key_name),
        measure("issuer: a session ID of 50,000", lambda: issuer_of_few.session_id(free)),
        measure("set: contains", lambda: known[0] in first),
        *costly_hellos(),
        *costly_decisions(luck),
        *schemes(luck, strangers),
    ]


def main() -> None:
    """Measure, print and perhaps write the results down."""
    parser = argparse.ArgumentParser(description="What the pure parts cost a connection.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    arguments = parser.parse_args()
    measured = results()
    print(f"{'microseconds a call':<54}{'min':>9}{'median':>9}{'target':>9}{'times':>7}")
    for result in measured:
        target = "" if result.target is None else f"{result.target:g}"
        times = "" if result.times is None else f"{result.times:.1f}"
        print(f"{result.name:<54}{result.lowest:>9.2f}{result.middle:>9.2f}{target:>9}{times:>7}")
    if arguments.json:
        data = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "microseconds": [attrs.asdict(result) for result in measured],
        }
        arguments.json.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()
