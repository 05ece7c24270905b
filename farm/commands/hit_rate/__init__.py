"""homing bench hit-rate: how many returning clients resume their TLS session."""

from __future__ import annotations

import argparse
import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from homing.farm.commands import parsing
from homing.farm.commands.hit_rate.measuring import Result, Work, measure
from homing.farm.commands.hit_rate.showing import AS_OFFERED, NONE, progress, sheet
from homing.farm.commands.s_client import CARRIERS, VERSIONS, CarrierOptions, Client
from homing.farm.config.demo import write_demo
from homing.farm.config.values import Endpoint
from homing.farm.processes.demo_farm import DEFAULTS, SERVERS
from homing.farm.processes.local import running
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES

_HOMING, _IGNORING = "homing", "identifiers ignored"


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
    own.add_argument("--servers", metavar="N", type=parsing.servers, default=SERVERS)
    own.add_argument("--scheme", choices=SCHEMES, default=DEFAULTS["scheme"])
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
    parsing.show(sheet(results))
    if options.json:
        data = {
            "clients": options.clients,
            "rounds": options.rounds,
            "results": [result.to_data() for result in results],
        }
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raises InvalidArgument when the CA given cannot be used."""
    if not options.connect:
        raise parsing.InvalidArgument("--ca", "is for --connect; a farm of its own has its own CA")
    try:
        ssl.create_default_context(cafile=options.ca)
    except ssl.SSLError as error:
        raise parsing.InvalidArgument(options.ca, "is not a file of certificates in PEM") from error
    except OSError as error:
        raise parsing.InvalidArgument(options.ca, f"cannot be read: {error.strerror}") from error


def _works(options: argparse.Namespace) -> list[Work]:
    """What is to be measured, farm by farm."""
    carriers = _carriers(options)
    if options.connect:
        ways = [(options.connect, NONE, NONE)]
    elif options.matrix:
        ways = [(_HOMING, scheme, plane) for scheme in SCHEMES for plane in ("hand-off", "relay")]
    else:
        plane = "relay" if options.relay else "hand-off"
        ways = [(name, options.scheme, plane) for name in (_HOMING, _IGNORING)]
    by_farm = sorted(carriers, key=attrgetter("resumption"))
    return [Work(*way, carrier) for way in ways for carrier in by_farm]


def _carriers(options: argparse.Namespace) -> list[CarrierOptions]:
    if options.carrier or options.matrix:
        return [CARRIERS[name] for name in options.carrier or CARRIERS]
    versions = list(VERSIONS) if options.tls == "both" else [options.tls]
    return [CarrierOptions(f"{AS_OFFERED}TLS {version}", version) for version in versions]


def _results(options: argparse.Namespace) -> Iterator[Result]:
    works = _works(options)
    with progress(len(works) * options.clients * (1 + options.rounds)) as advance:
        for _, same_farm in groupby(works, key=attrgetter("farm")):
            on_it = list(same_farm)
            with _farm(options, on_it[0]) as (connect, ca):
                for work in on_it:
                    kind = work.carrier
                    make = partial(Client, connect, kind.tls, ca=ca, options=kind.options)
                    numbers = {"clients": options.clients, "rounds": options.rounds}
                    yield measure(work, make, advance, **numbers)


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
            resumption=work.carrier.resumption,
        )
        with running(Path(folder), ["--config", str(config)]) as farm:
            yield farm.listen, farm.ca
