"""The farm as the registry has it, as plain data for people and programs.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import attrs

from homing.shared.farm_state import keys
from homing.shared.farm_state.values import SPARE, ManagerPresence, Names, PartValue, ServerState
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdRange, IdSet, to_data
from homing.shared.moves import PartStep, Way
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.division import Division

_SPARE = "spare"


@attrs.frozen
class ServerStatus:
    """A server: one that people wish for, that is there, or that owns something."""

    name: str
    address: str
    up: bool | None
    """None where the registry does not know: servers that are not ours have no presence."""
    state: str
    """active, draining, drained; or new, as long as nobody has wished for it."""
    leaves: bool
    """Whether it is no longer of the farm once it is drained."""
    epoch: int
    share: float
    """Its part of all identifiers."""
    sessions: int
    weight: float


@attrs.frozen
class BalancerStatus:
    """A balancer that is there."""

    name: str
    epoch: int
    up: bool = True


@attrs.frozen
class PartStatus:
    """Neighbouring parts of one owner in one state, or one part."""

    set: Mapping[str, Any]
    owner: str
    state: str
    next: str | None
    expires: str | None
    """When its owner must stop to draw unless it renews its assignment."""
    exceptions: int


@attrs.frozen
class MoveStatus:
    """A part on its way."""

    part: int
    set: Mapping[str, Any]
    from_: str
    to: str
    how: str
    step: str
    at: str | None
    waits_for: str
    until: str | None
    """When what it waits for is over at the latest, as far as is known."""
    note: str


@attrs.frozen
class RefusalStatus:
    """A server that is not of the farm, and why."""

    server: str
    why: str


@attrs.frozen
class Status:
    """All of it."""

    epoch: int
    scheme: str | None
    manager: str | None
    balancers: list[BalancerStatus]
    servers: list[ServerStatus]
    spare: float
    """The part of all identifiers that nobody owns."""
    parts: list[PartStatus]
    moves: list[MoveStatus]
    refusals: list[RefusalStatus]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        data: dict[str, Any] = attrs.asdict(self)
        data["moves"] = [
            {key.rstrip("_"): value for key, value in move.items()} for move in data["moves"]
        ]
        return data


def status(view: View, now: datetime) -> Status:
    """What `view` says of the farm at `now`."""
    manager: ManagerPresence | None = view.single(keys.MANAGER)
    balancers = [
        BalancerStatus(name, known.value.epoch) for name, known in sorted(view.balancers.items())
    ]
    owned, spare = shares(view)
    return Status(
        # A balancer that followed a removal may know of a later change than what is left tells
        max([view.routing, *(one.epoch for one in balancers)]),
        None if view.farm is None else view.farm.scheme,
        None if manager is None else manager.name,
        balancers,
        [_server(view, name, owned.get(name, 0.0)) for name in _servers(view, owned)],
        spare,
        [*_parts(view), *_own_records(view)],
        list(_moves(view, now)),
        [RefusalStatus(name, known.value.why) for name, known in sorted(view.refusals.items())],
    )


def shares(view: View) -> tuple[dict[str, float], float]:
    """By server, its part of all identifiers that the scheme assigns; and what is spare.

    A group's parts count for its members evenly.
    """
    names: Names | None = view.single(keys.NAMES)
    division = _division(view)
    if division is None:
        owners = {} if names is None else dict.fromkeys(names.names, 1 / len(names.names or " "))
    else:
        owners = {one: len(parts) / division.count for one, parts in view.owned.items() if parts}
    members: dict[str, list[str]] = {}
    for name, known in view.wishes.items():
        if known.value.facts.group is not None:
            members.setdefault(known.value.facts.group, []).append(name)
    found: Counter[str] = Counter()
    for owner, share in owners.items():
        for name in members.get(owner, [owner]):
            found[name] += share / len(members.get(owner, [owner]))  # type: ignore[assignment]
    return dict(found), 1 - sum(owners.values()) if owners or division else 0.0


def exceptions(view: View) -> Counter[str]:
    """How many identifiers live at each server although their part has another owner."""
    found: Counter[str] = Counter()
    for key, page in view.exceptions.items():
        found[key.split("/")[1]] += len(page.value.identifiers)
    return found


def _servers(view: View, owned: Mapping[str, float]) -> list[str]:
    return sorted(view.wishes.keys() | view.servers.keys() | owned.keys())


def _server(view: View, name: str, share: float) -> ServerStatus:
    wish, there = view.wishes.get(name), view.servers.get(name)
    known = wish or there
    facts = None if known is None else known.value.facts
    return ServerStatus(
        name,
        "" if facts is None else facts.address,
        there is not None if facts is None or facts.managed else None,
        _state(view, name, share),
        wish is not None and wish.value.state is ServerState.REMOVED,
        there.value.epoch if there else 0,
        share,
        there.value.sessions if there else 0,
        wish.value.weight if wish else 1.0,
    )


def _state(view: View, name: str, share: float) -> str:
    wish = view.wishes.get(name)
    if wish is None:
        return "new"
    if wish.value.state is ServerState.ACTIVE:
        return "active"
    return "draining" if share or exceptions(view)[name] else "drained"


def _division(view: View) -> Division | None:
    """How identifiers are divided; None where they are not, or this version does not know how."""
    farm = view.farm
    scheme = None if farm is None else SCHEMES.get(farm.scheme)
    if farm is None or scheme is None or scheme.cut is None:
        return None
    return Division(bytes.fromhex(farm.prefix), farm.bits)


def _cut(view: View, first: int, last: int) -> IdSet:
    """The set of neighbouring parts; where sets do not join, `first` is `last`."""
    division = _division(view)
    assert division is not None
    assert view.farm is not None
    cut = SCHEMES[view.farm.scheme].cut
    assert cut is not None
    low, high = cut(division, first), cut(division, last)
    if isinstance(low, IdRange) and isinstance(high, IdRange):
        return IdRange(low.first, high.last)
    return low


def _parts(view: View) -> Iterator[PartStatus]:
    if _division(view) is None or not view.parts:
        return
    joins = isinstance(_cut(view, 0, 0), IdRange)
    listed: Counter[int] = Counter()
    for key, page in view.exceptions.items():
        listed[int(key.split("/")[0])] += len(page.value.identifiers)

    def alike(place: tuple[int, int]) -> object:
        index, number = place
        one = view.parts[number].value
        return number - index if joins else number, one.owner, one.step, one.next

    for _, group in groupby(enumerate(sorted(view.parts)), alike):
        numbers = [number for _, number in group]
        one = view.parts[numbers[0]].value
        assignment = view.assignments.get(one.owner)
        yield PartStatus(
            to_data(_cut(view, numbers[0], numbers[-1])),
            one.owner,
            one.step.value,
            _next(one),
            assignment.value.until or None if assignment else None,
            sum(listed[number] for number in numbers),
        )


def _own_records(view: View) -> Iterator[PartStatus]:
    """What servers brought themselves."""
    for name, known in sorted(view.records.items()):
        for one in known.value.ids:
            yield PartStatus(to_data(one), name, "own", None, None, 0)


def _moves(view: View, now: datetime) -> Iterator[MoveStatus]:
    if _division(view) is None:
        return
    for number, known in sorted(view.parts.items()):
        one = known.value
        if one.next is not None:
            words, seconds = _waits_for(view, number, one)
            yield MoveStatus(
                number,
                to_data(_cut(view, number, number)),
                one.owner,
                str(_next(one)),
                one.how.value,
                one.step.value,
                None if one.at is None else utc(_time(one.at)),
                words,
                None if seconds is None else utc(now + timedelta(seconds=min(seconds, 1e9))),
                one.note,
            )


def _waits_for(view: View, number: int, one: PartValue) -> tuple[str, float | None]:
    """What a move waits for, and for how many seconds more at the most."""
    to = _next(one)
    if one.step in (PartStep.HELD, PartStep.LISTED, PartStep.RELEASED):
        return f"the manager, to give it to {to}", None
    there = view.servers.get(one.owner)
    if there is None:
        return f"{one.owner}, which is down: its assignment and its sessions must end", None
    if one.step is PartStep.LEAVING and one.how is not Way.SCHEDULED:
        return f"{one.owner}, to draw from it no more", None
    live = next((each for each in there.value.live if each.part == number), None)
    if live is None:
        return f"the sessions at {one.owner}", None
    if one.how is Way.SCHEDULED:
        return f"its time; {live.sessions} sessions at {one.owner} get others", None
    return f"{live.sessions} sessions at {one.owner}", live.seconds


def _next(one: PartValue) -> str | None:
    return _SPARE if one.next == SPARE else one.next


def utc(time: datetime) -> str:
    """A time as ISO 8601 has it, in UTC and whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(seconds: float) -> datetime:
    """A time from seconds since 1970, wherever a wrong clock put it."""
    return datetime.fromtimestamp(min(max(seconds, 0), 253402300799), UTC)
