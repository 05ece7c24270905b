"""homing check: validates a farm.toml and prints table 130.  It writes nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from secrets import randbelow

from rich.table import Table as Sheet

from homing.balancer.follower import Routes
from homing.balancer.table import Entry
from homing.farm.commands import parsing
from homing.farm.commands.looking import present, remark, say
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import printable
from homing.farm.config.guard import remarks
from homing.farm.config.sections import FarmConfig
from homing.farm.present import Present
from homing.shared.errors import NoFreeIdentifier
from homing.shared.farm_state.values import ServerFacts
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
    found = present(config)
    parsing.show(_sheet(f"table 130 of {config.path}{found.source}", found.routes))
    for line in _remarks(config, found):
        say(line)
    remark(found)
    return 0


def _sheet(title: str, routes: Routes) -> Sheet:
    sheet = Sheet(title=title)
    group = ["group"] if any(facts.group for facts in routes.servers.values()) else []
    for heading in ("server", *group, "address", "connections are", "identifiers", "how many"):
        sheet.add_column(heading, overflow="fold")
    entries = _by_owner(routes)
    for name, facts in routes.servers.items():
        who = [name, *([facts.group or ""] if group else []), facts.address, _way(routes, name)]
        own = _of(facts, name, entries)
        for entry in own:
            _add(sheet, *who, entry.part.describe(), power_of_two(entry.part.count()))
        if not own:
            _add(sheet, *who, "none" if facts.managed else "none are known", "0")
    for name in _strangers(routes, entries):
        for entry in entries[name]:
            who = [name, *([""] if group else []), "", "not of the farm any more"]
            _add(sheet, *who, entry.part.describe(), power_of_two(entry.part.count()))
    return sheet


def _add(sheet: Sheet, *cells: str) -> None:
    sheet.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in cells))


def _by_owner(routes: Routes) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in routes.table.lines():
        found.setdefault(entry.owner, []).append(entry)
    return found


def _of(facts: ServerFacts, name: str, entries: dict[str, list[Entry]]) -> list[Entry]:
    """What the table says a server has; it may name the group instead."""
    its_groups = entries.get(facts.group, []) if facts.group not in (None, name) else []
    return [*entries.get(name, []), *its_groups]


def _strangers(routes: Routes, entries: dict[str, list[Entry]]) -> list[str]:
    """Owners that are no servers of the farm, nor groups of them."""
    return [name for name in entries if name not in routes.servers and name not in routes.groups]


def _way(routes: Routes, name: str) -> str:
    facts = routes.servers[name]
    words = ["handed over" if facts.address.startswith("unix:") else "relayed"]
    words += ["PROXY v2"] if facts.proxy_protocol else []
    words += [] if facts.managed else ["not ours"]
    words += ["no new clients"] if name in routes.draining else []
    return ", ".join(words)


def power_of_two(number: int) -> str:
    """`number` in digits or, if it is large, as a power of two."""
    return str(number) if number < 1 << 20 else f"2^{math.log2(number):.1f}"


def _remarks(config: FarmConfig, found: Present) -> Iterator[str]:
    assigned = sum(entry.part.count() for entry in found.routes.table.lines())
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
    for fault in _without_identifiers(found):
        yield f"{fault}: it gives out no sessions to resume"
    yield from _groups(config, found.routes)
    if config.balancer.default_server is not None:
        yield (
            f"{config.balancer.default_server} gets all identifiers that no entry lists, among "
            "them the random session IDs of first visits with TLS 1.3."
        )
    if config.balancer.ignore_ids:
        yield "balancer.ignore_ids is on: the table is not used."
    yield from remarks(config)


def _groups(config: FarmConfig, routes: Routes) -> Iterator[str]:
    by_policy = config.balancer.group_choice == "policy"
    returns = (
        "the policy chooses one of them for a client that comes back"
        if by_policy
        else "a client comes back to the one that issued its session, while that is down to another"
    )
    members: dict[str, list[str]] = {}
    for name, facts in routes.servers.items():
        if facts.group:
            members.setdefault(facts.group, []).append(name)
    for group, names in members.items():
        yield f"{', '.join(names)} share sessions as the group {group}: {returns}."


def _without_identifiers(found: Present) -> Iterator[str]:
    """Servers that can draw no identifier, and why: a user's function may never name them."""
    for name, record in found.records.items():
        try:
            record.draw(randbelow, lambda identifier: False)
        except NoFreeIdentifier as error:
            yield f"{name}: {error}"
    entries = _by_owner(found.routes)
    for name, facts in found.routes.servers.items():
        if facts.managed and not _of(facts, name, entries):
            yield f"{name}: nothing is assigned to it"
