"""homing status: the farm as its registry has it."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from homing.farm.commands import parsing
from homing.farm.commands.operating.reaching import add_options, reach
from homing.farm.config.faults import printable
from homing.farm.status import Status, status
from homing.farm.status.values import MoveStatus, ServerStatus
from homing.shared.farm_state.view import View
from homing.shared.registry.interface import Registry

_MOST_MOVES = 20


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "status",
        "show a running farm: servers, balancers, who owns how much, what moves",
        "  homing status\n  homing status --json | jq .spare",
        run,
    )
    command.add_argument("--json", action="store_true", help="for programs")
    add_options(command)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    view = View(lambda line: parsing.stderr().print(printable(line), soft_wrap=True))
    found = reach(options, lambda reactor, registry: _read(registry, view))
    if options.json:
        parsing.stdout().print(json.dumps(found.plain()), soft_wrap=True)
    else:
        show(found)
    return 0


async def _read(registry: Registry, view: View) -> Status:
    view.apply(await registry.read())
    return status(view, datetime.now(UTC))


def show(found: Status) -> None:
    """Print it for people."""
    out = parsing.stdout()
    for line in _head(found):
        out.print(printable(line), soft_wrap=True)
    if found.servers:
        parsing.show(servers(found))
    for line in (*moving(found.moves), *_refused(found)):
        out.print(printable(line), soft_wrap=True)


def _head(found: Status) -> Iterator[str]:
    if found.scheme is None:
        yield "the registry knows of no farm yet: no balancer has been there"
        return
    yield f"scheme {found.scheme}, epoch {found.epoch}, {_percent(found.spare)} spare"
    yield f"manager: {found.manager or 'none: nothing moves until a balancer is up'}"
    names = [f"{one.name} (table of epoch {one.epoch})" for one in found.balancers]
    yield f"balancers: {', '.join(names) or 'none'}"


def servers(found: Status) -> Table:
    """The servers as a table."""
    sheet = Table()
    for heading in ("server", "address", "up", "state", "share", "sessions", "epoch"):
        right = heading in ("share", "sessions", "epoch")
        sheet.add_column(heading, overflow="fold", justify="right" if right else "left")
    for one in found.servers:
        sheet.add_row(*map(printable, _row(one)))
    return sheet


def _row(one: ServerStatus) -> tuple[str, ...]:
    up = {True: "yes", False: "no", None: "?"}[one.up]
    state = f"{one.state}, leaves" if one.leaves else one.state
    known = one.up is not None
    counts = (str(one.sessions), str(one.epoch)) if known else ("", "")
    return one.name, one.address, up, state, _percent(one.share), *counts


def moving(moves: list[MoveStatus]) -> Iterator[str]:
    """The moves, those that are alike in one line."""
    alike: Counter[tuple[Any, ...]] = Counter()
    for one in moves:
        key = (one.from_, one.to, one.how, one.step, one.at, one.waits_for, one.until, one.note)
        alike[key] += 1
    for (owner, to, how, step, at, waits_for, until, note), count in alike.most_common(_MOST_MOVES):
        parts = "1 part moves" if count == 1 else f"{count} parts move"
        when = f" at {at}" if at else ""
        then = f"waits for {waits_for}" + (f", until {until} at the latest" if until else "")
        why = f"; {note}" if note else ""
        yield f"{parts} from {owner} to {to} by {how}{when}: {step}, {then}{why}"
    if len(alike) > _MOST_MOVES:
        yield f"and {len(alike) - _MOST_MOVES} other moves: --json has them"


def _refused(found: Status) -> Iterator[str]:
    for one in found.refusals:
        yield f"{one.server} is refused: {one.why}"


def _percent(part: float) -> str:
    return f"{100 * part:.1f}%"
