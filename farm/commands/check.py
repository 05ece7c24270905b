"""homing check: validates a farm.toml and prints table 130.  It writes nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from secrets import randbelow

from rich.table import Table as Sheet

from homing.farm.commands import parsing
from homing.farm.config.farm_toml import load
from homing.farm.config.guard import remarks
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.plan import Plan, look
from homing.shared.errors import NoFreeIdentifier
from homing.shared.identifiers import HIGHEST


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "check",
        "validate a farm.toml and print table 130, who may give out which session IDs",
        "  homing check farm.toml",
        run,
    )
    command.add_argument("config", metavar="farm.toml", type=Path)


def run(options: argparse.Namespace) -> int:
    """Print the table, then remarks on it."""
    config = load(options.config)
    result, made_later = look(config)
    parsing.show(_sheet(config, result))
    for remark in (*_remarks(config, result), *keys_made_later(made_later)):
        parsing.stderr().print(remark, soft_wrap=True)
    return 0


def _sheet(config: FarmConfig, result: Plan) -> Sheet:
    sheet = Sheet(title=f"table 130 of {config.path}")
    group = ["group"] if result.groups else []
    for heading in ("server", *group, "address", "connections are", "identifiers", "how many"):
        sheet.add_column(heading, overflow="fold")
    for server in config.server:
        record = result.records.get(server.name)
        name, *where = _who(server)
        who = [name, *([server.group or ""] if group else []), *where]
        for part in record.parts if record else ():
            sheet.add_row(*who, part.describe(), power_of_two(part.count()))
        if record is None:
            sheet.add_row(*who, "none are known", "0")
    return sheet


def _who(server: ServerSection) -> tuple[str, str, str]:
    way = "handed over" if server.address.path is not None else "relayed"
    if server.proxy_protocol:
        way += ", PROXY v2"
    return server.name, str(server.address), way if server.managed else f"{way}, not ours"


def power_of_two(number: int) -> str:
    """`number` in digits or, if it is large, as a power of two."""
    return str(number) if number < 1 << 20 else f"2^{math.log2(number):.1f}"


def _remarks(config: FarmConfig, result: Plan) -> Iterator[str]:
    assigned = sum(entry.part.count() for entry in result.table.entries)
    chance = Fraction(assigned, HIGHEST + 1)
    if assigned:
        yield (
            f"A random identifier hits an entry with probability 2^{math.log2(chance):.1f} at most."
        )
    if chance > Fraction(1, 1 << 16):
        yield (
            "That is more than 2^-16: nearly every TLS 1.3 client sends a random session ID on its "
            "first visit; give the servers fewer IDs if you can, or many of these visits miss the "
            "policy."
        )
    for fault in _without_identifiers(result):
        yield f"{fault}: it gives out no sessions to resume"
    yield from _groups(config)
    if config.balancer.default_server is not None:
        yield (
            f"{config.balancer.default_server} gets all identifiers that no entry lists, among "
            "them the random session IDs of first visits with TLS 1.3."
        )
    if config.balancer.ignore_ids:
        yield "balancer.ignore_ids is on: the table is not used."
    yield from remarks(config)


def _groups(config: FarmConfig) -> Iterator[str]:
    by_policy = config.balancer.group_choice == "policy"
    returns = (
        "the policy chooses one of them for a client that comes back"
        if by_policy
        else "a client comes back to the one that issued its session, while that is down to another"
    )
    for group in dict.fromkeys(server.group for server in config.server if server.group):
        yield f"{', '.join(config.members(group))} share sessions as the group {group}: {returns}."


def keys_made_later(files: Sequence[Path]) -> Iterator[str]:
    """A remark on keys that do not exist yet."""
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        yield f"The first start will make {files[0]}{more}: there are no identifiers of it yet."


def _without_identifiers(result: Plan) -> Iterator[str]:
    """Servers that can draw no identifier, and why: a user's function may never name them."""
    for name, record in result.records.items():
        try:
            record.draw(randbelow, lambda identifier: False)
        except NoFreeIdentifier as error:
            yield f"{name}: {error}"
