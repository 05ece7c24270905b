"""homing bench hit-rate: how many returning clients resume their TLS session."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import SystemRandom
from typing import Any

import attrs
from rich.console import JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from homing.farm.commands import parsing
from homing.farm.commands.s_client import CARRIERS, VERSIONS, Carrier, Client, Visit
from homing.farm.config.demo import write_demo
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.values import Endpoint
from homing.farm.processes.local import running
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES

_AT_ONCE = 2 * (os.cpu_count() or 1)
_HOMING, _IGNORING = "homing", "identifiers ignored"
_AS_OFFERED = "as offered, "
_NONE = "-"
_ALWAYS = ("carrier", "resumed", "hit rate")
_NUMBERS = ("first visits", "connections", "resumed", "hit rate")
_FEW = 4


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "hit-rate",
        "let openssl s_client processes save a session and come back with it, and count",
        "  homing bench hit-rate --clients 50 --rounds 4\n"
        "  homing bench hit-rate --scheme keyed --relay --carrier ticket\n"
        "  homing bench hit-rate --matrix --clients 4 --rounds 2\n"
        "  homing bench hit-rate --connect localhost:8443 --ca homing-state/ca.pem",
        run,
    )
    there = command.add_argument_group("the farm that is there (default: one of its own)")
    there.add_argument("--connect", metavar="HOST:PORT", type=parsing.host_and_port)
    there.add_argument("--ca", metavar="FILE", type=Path, help="the CA's certificate, to verify")
    own = command.add_argument_group("the farm of its own")
    own.add_argument("--servers", metavar="N", type=parsing.servers, default=4, help="1 to 256 [4]")
    own.add_argument("--scheme", choices=SCHEMES, default=next(iter(SCHEMES)))
    own.add_argument(
        "--matrix", action="store_true", help="every scheme, plane and carrier, in one table"
    )
    own.add_argument("--relay", action="store_true", help="relay instead of hand-off")
    command.add_argument("--clients", metavar="N", type=parsing.count, default=20)
    command.add_argument(
        "--rounds", metavar="N", type=parsing.count, default=3, help="times each client comes back"
    )
    command.add_argument("--tls", choices=[*VERSIONS, "both"], default="both")
    command.add_argument(
        "--carrier",
        action="append",
        choices=CARRIERS,
        help="what clients come back with; can be repeated [what s_client and the farm agree on]",
    )
    command.add_argument("--json", metavar="FILE", type=Path, help="write the numbers here too")


@attrs.frozen
class Work:
    """One row of the result: returning clients of one kind, on one farm."""

    balancer: str
    scheme: str
    plane: str
    carrier: str
    tls: str
    options: tuple[str, ...]
    resumption: str

    @property
    def farm(self) -> tuple[str, str, str, str]:
        """Work that can be done on one farm has this in common."""
        return self.balancer, self.scheme, self.plane, self.resumption


@attrs.frozen
class Result:
    """What the returning clients saw."""

    work: Work
    first_visits: int
    connections: int
    """Return visits, each with a session to resume."""
    resumed: int
    servers: tuple[str, ...]
    """All that were seen."""

    @property
    def hit_rate(self) -> float:
        """Resumed connections in percent."""
        return 100 * self.resumed / self.connections

    def to_data(self) -> dict[str, Any]:
        """As JSON has it."""
        names = ("balancer", "scheme", "plane", "carrier", "tls")
        return {
            **{name: getattr(self.work, name) for name in names},
            "first_visits": self.first_visits,
            "connections": self.connections,
            "resumed": self.resumed,
            "hit_rate": round(self.hit_rate, 2),
            "servers": list(self.servers),
        }


def run(options: argparse.Namespace) -> int:
    """Measure, print, and write the JSON file."""
    if options.ca:
        _check(options)
    if options.json:
        try:
            options.json.open("a").close()
        except OSError as error:
            raise HomingError(f"cannot write {options.json}: {error.strerror}") from error
    results = list(_results(options))
    parsing.stdout().print(_sheet(results))
    if options.json:
        data = {
            "clients": options.clients,
            "rounds": options.rounds,
            "results": [result.to_data() for result in results],
        }
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raises InvalidConfig when the CA given cannot be used."""
    if not options.connect:
        raise InvalidConfig(Path("--ca"), ["is for --connect; a farm of its own has its own CA"])
    try:
        ssl.create_default_context(cafile=options.ca)
    except ssl.SSLError as error:
        raise InvalidConfig(options.ca, ["is not a file of certificates in PEM"]) from error
    except OSError as error:
        raise InvalidConfig(options.ca, [f"cannot be read: {error.strerror}"]) from error


def _works(options: argparse.Namespace) -> list[Work]:
    """What is to be measured, farm by farm."""
    carriers = _carriers(options)
    if options.connect:
        ways = [(options.connect, _NONE, _NONE)]
    elif options.matrix:
        ways = [(_HOMING, scheme, plane) for scheme in SCHEMES for plane in ("hand-off", "relay")]
    else:
        plane = "relay" if options.relay else "hand-off"
        ways = [(name, options.scheme, plane) for name in (_HOMING, _IGNORING)]
    by_farm = sorted(carriers.items(), key=lambda named: named[1].resumption)
    return [
        Work(*way, name, carrier.tls, carrier.options, carrier.resumption)
        for way in ways
        for name, carrier in by_farm
    ]


def _carriers(options: argparse.Namespace) -> dict[str, Carrier]:
    if options.carrier:
        return {name: CARRIERS[name] for name in options.carrier}
    if options.matrix:
        return CARRIERS
    versions = list(VERSIONS) if options.tls == "both" else [options.tls]
    return {f"{_AS_OFFERED}TLS {version}": Carrier(version) for version in versions}


def _results(options: argparse.Namespace) -> Iterator[Result]:
    works = _works(options)
    with _progress(len(works) * options.clients * (1 + options.rounds)) as advance:
        for _, same_farm in groupby(works, key=attrgetter("farm")):
            on_it = list(same_farm)
            with _farm(options, on_it[0]) as (connect, ca):
                for work in on_it:
                    make = partial(Client, connect, work.tls, ca=ca, options=work.options)
                    yield measure(work, make, options.clients, options.rounds, advance)


@contextmanager
def _farm(options: argparse.Namespace, work: Work) -> Iterator[tuple[str, Path | None]]:
    """Where to connect to, and the CA to verify with."""
    if options.connect:
        yield options.connect, options.ca
        return
    with tempfile.TemporaryDirectory(prefix="homing-") as folder:
        config = write_demo(
            Path(folder),
            options.servers,
            Endpoint("tcp:0:interface=127.0.0.1"),
            work.scheme,
            relay=work.plane == "relay",
            ignore_ids=work.balancer == _IGNORING,
            resumption=work.resumption,
        )
        with running(Path(folder), ["--config", str(config)]) as farm:
            yield farm.listen, farm.ca


def measure(
    work: Work,
    make: Callable[..., Client],
    clients: int,
    rounds: int,
    advance: Callable[[], None],
) -> Result:
    """Let `clients` clients visit once, and then come back in `rounds` rounds, in random order."""
    with (
        tempfile.TemporaryDirectory(prefix="homing-") as folder,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        memories = [Path(folder, f"{index}.session") for index in range(clients)]
        everybody = [make(session_file=memory) for memory in memories]

        def visit(client: Client) -> Visit:
            seen = client.visit()
            advance()
            return seen

        first = list(pool.map(visit, everybody))
        returns: list[Visit] = []
        for _ in range(rounds):
            SystemRandom().shuffle(everybody)
            returns += pool.map(visit, everybody)
    servers = {seen.server for seen in first + returns if seen.server}
    resumed = sum(seen.resumed for seen in returns)
    return Result(work, len(first), len(returns), resumed, tuple(sorted(servers)))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=parsing.stderr(), transient=True) as progress:
        task = progress.add_task("visits", total=total)
        yield lambda: progress.advance(task)


def _sheet(results: list[Result]) -> Table:
    """What is the same in all rows stands in the title, so that it fits into 80 columns."""
    rows = [_cells(result) for result in results]
    first = rows[0]
    varying = [
        heading
        for heading in first
        if heading in _ALWAYS or any(row[heading] != first[heading] for row in rows)
    ]
    same = [
        f"{heading}: {text}"
        for heading, text in first.items()
        if heading not in varying and text != _NONE
    ]
    sheet = Table(title="; ".join(same), title_justify="left")
    for heading in varying:
        justify: JustifyMethod = "right" if heading in _NUMBERS else "left"
        sheet.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        sheet.add_row(*(row[heading] for heading in varying))
    return sheet


def _cells(result: Result) -> dict[str, str]:
    """A row, by heading."""
    work, seen = result.work, result.servers
    return {
        "balancer": work.balancer,
        "scheme": work.scheme,
        "plane": work.plane,
        "carrier": work.carrier.removeprefix(_AS_OFFERED),
        "first visits": str(result.first_visits),
        "connections": str(result.connections),
        "resumed": str(result.resumed),
        "hit rate": f"{result.hit_rate:.1f} %",
        "servers seen": (", ".join(seen) or "unknown") if len(seen) <= _FEW else str(len(seen)),
    }
