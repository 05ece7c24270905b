"""Who may give out what: the records 132 and the table 130 that follow from a farm.toml.

Balancer and servers each work this out from the same file, and so agree.
"""

from __future__ import annotations

import attrs

from balancer.allocation import AllocationError, Need, allocate
from balancer.table import Table
from farm.config import FarmConfig, ServerSection
from farm.faults import InvalidConfig
from farm.values import read_list
from shared.errors import OverlapError
from shared.id_sets import IdList, IdSet
from shared.record import Record


@attrs.frozen
class Plan:
    """The record of every server that has one, and the table they make."""

    records: dict[str, Record]
    table: Table


def plan(config: FarmConfig) -> Plan:
    """What follows from `config`.  Raises InvalidConfig."""
    own = _own_sets(config)
    needs = [
        Need(server.name, server.share.part if server.share else None, server.max_ids)
        for server in config.server
        if server.managed and server.ids is None
    ]
    try:
        allocated = allocate(needs, config.session_ids.spare.part, own.values())
        records = {
            server.name: Record((own[server.name],))
            if server.name in own
            else allocated[server.name]
            for server in config.server
            if server.name in own or server.name in allocated
        }
        table = Table.of_records(records, config.balancer.default_server)
    except OverlapError as error:
        raise InvalidConfig(
            config.path, [f"server.ids: {fault}" for fault in error.faults]
        ) from None
    except AllocationError as error:
        raise InvalidConfig(config.path, [f"server: {error}"]) from None
    return Plan(records, table)


def _own_sets(config: FarmConfig) -> dict[str, IdSet]:
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
