"""Who may give out what: the records 132 and the table 130 that follow from a farm.toml.

Balancer and servers each work this out from the same file, and so agree.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from homing.balancer.allocation import AllocationError, Need
from homing.balancer.table import Table
from homing.farm.config.farm_toml import FarmConfig, ServerSection
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.keys import Keys
from homing.farm.config.values import read_list
from homing.farm.schemes import assign
from homing.shared.errors import OverlapError
from homing.shared.id_sets import IdList, IdSet
from homing.shared.record import Record


@attrs.frozen
class Plan:
    """The record of every server that has one, the table they make, and who shares sessions."""

    records: dict[str, Record]
    table: Table
    groups: dict[str, tuple[str, ...]]
    """By owner in the table: all servers that know its sessions."""


def plan(config: FarmConfig, drawing: str | None = None, keys: Keys | None = None) -> Plan:
    """What follows from `config`, in a balancer or, with its name, in a server.

    `keys` are the farm's secrets; by default those in its state folder, made if need be.  Raises
    InvalidConfig, and HomingError when the farm's secrets cannot be used.
    """
    keys = keys or Keys(config.state_dir / "keys")
    own = own_sets(config)
    owners = {server.name: _owner(config, server) for server in config.server if server.managed}
    # Two servers that draw from one list would give out the same: in a group, too, each has its own
    drawers = {name: name for name in owners} if config.session_ids.scheme == "list" else owners
    needs = {
        drawers[server.name]: _need(drawers[server.name], server)
        for server in config.server
        if server.managed and server.ids is None
    }
    knows = frozenset(owners[name] for name in _fellows(config, drawing))
    try:
        assigned = assign(config, tuple(needs.values()), tuple(own.values()), drawing, knows, keys)
        records = {
            server.name: Record((own[server.name],))
            if server.name in own
            else assigned[drawers[server.name]]
            for server in config.server
            if server.name in own or server.managed
        }
        table = Table.of_records(_by_owner(records, owners), config.balancer.default_server)
    except OverlapError as error:
        raise InvalidConfig(config.path, [f"server.ids: {one}" for one in error.faults]) from None
    except AllocationError as error:
        raise InvalidConfig(config.path, [f"server: {error}"]) from None
    return Plan(records, table, _groups(config, owners))


def look(config: FarmConfig) -> tuple[Plan, tuple[Path, ...]]:
    """The plan for who only looks, and the key files that the first start will make.

    Nothing is written, not even Python's caches of a user's function; keys that are not there are
    made up.  Raises as `plan` does.
    """
    sys.dont_write_bytecode = True
    made_up: list[Path] = []
    result = plan(config, keys=Keys(config.state_dir / "keys", made_up))
    return result, tuple(made_up)


def _fellows(config: FarmConfig, name: str | None) -> tuple[str, ...]:
    """The servers whose sessions the server of that name must know: its own, and its group's."""
    group = next((one.group for one in config.server if one.name == name), None)
    if name is None:
        return ()
    return (name,) if group is None else config.members(group)


def _owner(config: FarmConfig, server: ServerSection) -> str:
    """What the table names for a server's identifiers: itself, or its group."""
    if server.group is not None and config.balancer.group_choice == "policy":
        return server.group
    return server.name


def _need(owner: str, server: ServerSection) -> Need:
    return Need(owner, server.share.part if server.share else None, server.max_ids)


def _by_owner(records: Mapping[str, Record], owners: Mapping[str, str]) -> dict[str, Record]:
    """What the table says each owner has: the records of all its servers."""
    members: dict[str, list[Record]] = {}
    for name, record in records.items():
        members.setdefault(owners.get(name, name), []).append(record)
    return {owner: _union(each) for owner, each in members.items()}


def _union(records: list[Record]) -> Record:
    first, *others = records
    if all(record is first for record in others):
        return first
    return Record(tuple(id_set for record in records for id_set in record.sets))  # lists


def _groups(config: FarmConfig, owners: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        owners[server.name]: config.members(server.group)
        for server in config.server
        if server.group is not None
    }


def own_sets(config: FarmConfig) -> dict[str, IdSet]:
    """The sets that servers bring themselves.  Raises InvalidConfig."""
    sets: dict[str, IdSet] = {}
    faults = []
    for server in config.server:
        try:
            id_set = _own_set(config, server)
        except (OSError, ValueError) as error:
            faults.append(f'server "{server.name}": ids.list_file: {error}')
        else:
            if id_set is not None:
                sets[server.name] = id_set
    if faults:
        raise InvalidConfig(config.path, faults)
    return sets


def _own_set(config: FarmConfig, server: ServerSection) -> IdSet | None:
    if server.ids is None:
        return None
    if server.ids.list_file is None:
        return server.ids.id_set
    return IdList(read_list((config.folder / server.ids.list_file).read_text(encoding="utf-8")))
