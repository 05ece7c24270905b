"""Assigns identifiers: the records 132 and the table 130 that follow from a farm.toml.

Balancer and servers each compute them from the same file, and so agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path

import attrs
from twisted.logger import Logger

from homing.balancer.table import Table
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.keys import Keys
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import Ids, ListFile
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdSet, overlaps
from homing.shared.part import Part
from homing.shared.record import Record
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.base import AllocationError, Need, Request

_MOST_FAULTS = 20
_MOST_REPORTS = 100

Report = Callable[[str], None]

_log = Logger()


@attrs.frozen
class Plan:
    """The record of every server that has one, the table they make, and who shares sessions."""

    records: dict[str, Record]
    table: Table
    groups: dict[str, tuple[str, ...]]
    """By owner in the table: all servers that know its sessions."""


def plan(
    config: FarmConfig,
    name: str | None = None,
    keys: Keys | None = None,
    report: Report | None = None,
) -> Plan:
    """The plan of `config`, as computed by a balancer or, with its name, by a server.

    `keys` are the farm's secrets; by default those in its state folder, made if need be.  `report`
    is told what is wrong with a user's function; by default the log is.  Raises InvalidConfig, and
    HomingError when the farm's secrets cannot be used.
    """
    own = own_sets(config)
    owners = {one.name: _owner(config, one) for one in config.server}
    try:
        secrets = keys or Keys(config.state_dir / "keys")
        assigned = _assigned(config, owners, own, name, secrets, report or once_each())
        records = {
            one.name: Record(own[one.name]) if one.name in own else assigned[one.name]
            for one in config.server
            if one.name in own or one.managed
        }
        table = Table.of_records(_by_owner(records, owners), config.balancer.default_server)
    except OverlapError as error:
        raise InvalidConfig(config.path, [f"server.ids: {one}" for one in error.faults]) from None
    except AllocationError as error:
        raise InvalidConfig(config.path, [str(error)]) from error
    return Plan(records, table, _groups(config, owners))


def look(config: FarmConfig, report: Report | None = None) -> tuple[Plan, tuple[Path, ...]]:
    """The plan, computed without writing, and the key files that the first start will make.

    Missing keys are made up.  Python writes no cache of a user's function.  Raises as `plan` does.
    """
    sys.dont_write_bytecode = True
    made_up: list[Path] = []
    result = plan(config, keys=Keys(config.state_dir / "keys", made_up), report=report)
    return result, tuple(made_up)


def _owner(config: FarmConfig, server: ServerSection) -> str:
    """What the table names for a server's identifiers: itself, or its group."""
    if server.group is not None and config.balancer.group_choice == "policy":
        return server.group
    return server.name


def _assigned(
    config: FarmConfig,
    owners: Mapping[str, str],
    own: Mapping[str, tuple[IdSet, ...]],
    name: str | None,
    keys: Keys,
    report: Report,
) -> dict[str, Record]:
    """The records, by server, of those that bring no identifiers.  Raises HomingError."""
    scheme = SCHEMES[config.session_ids.scheme]
    drawers = {
        one.name: one.name if scheme.each_its_own else owners[one.name]
        for one in config.managed
        if one.name not in own
    }
    needs: dict[str, Need] = {}
    for one in config.server:
        if one.name in drawers:
            needs[drawers[one.name]] = one.need(drawers[one.name])
    request = Request(
        tuple(needs.values()),
        tuple(id_set for sets in own.values() for id_set in sets),
        config.session_ids.settings,
        keys,
        None if name is None else {owners[one] for one in _fellows(config, name)},
        report,
    )
    records = {drawer: Record((part,)) for drawer, part in scheme.assign(request).items()}
    return {server: records[drawer] for server, drawer in drawers.items()}


def _fellows(config: FarmConfig, name: str) -> tuple[str, ...]:
    """The servers whose sessions the server of that name must know: its own, and its group's."""
    group = next((one.group for one in config.server if one.name == name), None)
    return (name,) if group is None else config.members(group)


def _by_owner(records: Mapping[str, Record], owners: Mapping[str, str]) -> dict[str, Record]:
    """What the table says each owner has: the parts of all its servers, each once."""
    parts: dict[str, dict[int, Part]] = {}
    for name, record in records.items():
        parts.setdefault(owners[name], {}).update((id(part), part) for part in record.parts)
    return {owner: Record(tuple(each.values())) for owner, each in parts.items()}


def _groups(config: FarmConfig, owners: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        owners[server.name]: config.members(server.group)
        for server in config.server
        if server.group is not None
    }


def once_each() -> Report:
    """A reporter that logs every fault once: a user's code may be called for each connection."""
    said: set[str] = set()

    def report(words: str) -> None:
        if words not in said and len(said) < _MOST_REPORTS:
            said.add(words)
            _log.error("{words}", words=words)

    return report


def own_sets(config: FarmConfig) -> dict[str, tuple[IdSet, ...]]:
    """The sets of servers that have `ids` of their own, by server.  Raises InvalidConfig."""
    sets: dict[str, tuple[IdSet, ...]] = {}
    faults: list[str] = []
    for server in config.server:
        if server.ids is not None:
            found, wrong = _read(config, server.ids)
            sets[server.name] = found
            faults += [f'server "{server.name}": {fault}' for fault in wrong]
    faults = faults or _overlaps(config, sets)
    if faults:
        raise InvalidConfig(config.path, faults)
    return sets


def _read(config: FarmConfig, ids: Ids) -> tuple[tuple[IdSet, ...], list[str]]:
    """The sets of one server, and what is wrong with its files."""
    sets: list[IdSet] = []
    faults = []
    for place, one in enumerate(ids.sets):
        try:
            sets.append(one.read(config.folder) if isinstance(one, ListFile) else one)
        except ValueError as error:
            faults.append(f"{ids.key(place)}.list_file: {error}")
    return tuple(sets), faults


def _overlaps(config: FarmConfig, own: Mapping[str, tuple[IdSet, ...]]) -> list[str]:
    """A message for each overlap, in the order of the file, at most `_MOST_FAULTS`."""
    places = [
        (server.name, server.ids.key(place))
        for server in config.server
        if server.ids is not None
        for place in range(len(own[server.name]))
    ]
    found = sorted(overlaps([one for sets in own.values() for one in sets]), key=itemgetter(0, 1))
    faults = []
    for one_place, other_place, common in found[:_MOST_FAULTS]:
        (one, its_key), (other, key) = places[one_place], places[other_place]
        if one == other:
            faults.append(f'server "{one}": {its_key} and {key} overlap: {common}')
        else:
            faults.append(
                f'server.ids: {its_key} of "{one}" and {key} of "{other}" overlap: {common}'
            )
    more = len(found) - _MOST_FAULTS
    return [*faults, f"server.ids: and {more} more"] if more > 0 else faults
