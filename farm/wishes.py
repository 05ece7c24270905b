"""What farm.toml wishes of the farm and its servers, and what of it the registry lacks.  Pure.

Every balancer compares at its start and on SIGHUP.  A section of farm.toml counts once: what a
command says later stays in force until the section itself changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

import attrs

from homing.balancer.management.membership import FARM_TOML
from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import ListFile
from homing.shared.errors import HomingError
from homing.shared.farm_state import keys
from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import FarmValue, ServerFacts, ServerState, Wish
from homing.shared.farm_state.view import View
from homing.shared.id_sets import IdSet
from homing.shared.identifiers import from_number
from homing.shared.moves import Way
from homing.shared.registry.interface import LARGEST_VALUE, Transaction
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.arena import arena_start
from homing.shared.schemes.division import PREFIX_LENGTH, enough_bits

BY_FILE = FARM_TOML
BY_COMMAND = "command"

_DIGEST = 16


def of_file(config: FarmConfig) -> dict[str, Wish]:
    """What a farm.toml wishes of each server.

    List files have been read (`inherited.with_lists`).  Raises HomingError when a server's own
    identifiers are too many for the registry.
    """
    return {one.name: _wish(one) for one in config.server}


def changes(config: FarmConfig, view: View, fingerprint: str = "") -> Mapping[str, object]:
    """What of a farm.toml the registry lacks, by key; nothing where all has been taken over.

    `fingerprint` is that of the scheme's keys.  Raises HomingError when the farm cannot be as the
    file says.
    """
    found: dict[str, object] = {}
    farm = farm_value(config, view.farm, fingerprint)
    if farm != view.farm:
        found[keys.FARM] = farm
    wanted = of_file(config)
    for name, wish in wanted.items():
        known = view.wishes.get(name)
        if known is None:
            found[keys.wish(name)] = wish
        elif known.value.digest != wish.digest:
            found[keys.wish(name)] = _taken_over(known.value, wish)
    for name, known in view.wishes.items():
        if name not in wanted and known.value.source == BY_FILE:
            # No longer the file's, so that the manager can forget it
            found[keys.wish(name)] = attrs.evolve(
                known.value, state=ServerState.REMOVED, source=BY_COMMAND, digest=""
            )
    return found


def transactions(config: FarmConfig, view: View, fingerprint: str = "") -> Iterator[Transaction]:
    """What `changes` finds, in as few transactions as will do: so servers start with even parts.

    Raises as `changes` does.
    """
    return view.changes_in_turn(changes(config, view, fingerprint))


def farm_value(config: FarmConfig, there: FarmValue | None, fingerprint: str = "") -> FarmValue:
    """What all of the farm are to agree on, where `there` is what they agree on now.

    The division into parts stays what it is.  Raises HomingError where the scheme is another.
    """
    section = config.session_ids
    if there is None:
        start = FarmValue(section.scheme, fingerprint=fingerprint)
        if SCHEMES[section.scheme].cut is not None:
            start = attrs.evolve(start, prefix=_arena(config), bits=_bits(config))
        there = start
    elif there.scheme != section.scheme:
        raise HomingError(
            f'{config.path}: session_ids.scheme is "{section.scheme}", but the farm runs by '
            f'"{there.scheme}", and identifiers of that scheme live.  Write '
            f'scheme = "{there.scheme}"; or choose another registry (in etcd: another farm.name) '
            "and start the whole farm again: all sessions are lost then"
        )
    return attrs.evolve(
        there,
        spare=float(section.spare.part),
        moving=Way(section.moving),
        lifetime=section.lifetime,
        resumption=section.resumption,
    )


def _taken_over(known: Wish, wish: Wish) -> Wish:
    """A section that has changed; it says nothing of a drain that a command has begun."""
    wish = attrs.evolve(wish, sessions=known.sessions)
    if known.state in (ServerState.REMOVED, ServerState.GONE):
        return wish
    return attrs.evolve(wish, state=known.state, how=known.how)


def _wish(one: ServerSection) -> Wish:
    share = None if one.share is None else float(one.share.part)
    wish = Wish(facts(one), share=share, max_ids=one.max_ids, weight=one.weight, source=BY_FILE)
    data = encode(wish)
    if len(data) > LARGEST_VALUE // 2:
        raise HomingError(
            f'server "{one.name}": ids: {len(data)} bytes are more than the registry takes, '
            f"{LARGEST_VALUE // 2}: describe them by ranges or mandatory bits"
        )
    return attrs.evolve(wish, digest=sha256(data).hexdigest()[:_DIGEST])


def facts(one: ServerSection) -> ServerFacts:
    """How balancers reach a server, and what it brings."""
    return ServerFacts(str(one.address), one.managed, one.group, one.proxy_protocol, _own(one))


def _own(one: ServerSection) -> tuple[IdSet, ...] | None:
    if one.ids is None:
        return None
    assert not any(isinstance(each, ListFile) for each in one.ids.sets)
    return tuple(each for each in one.ids.sets if not isinstance(each, ListFile))


def _arena(config: FarmConfig) -> str:
    """The prefix of an arena that is free of all servers' own identifiers.

    Raises AllocationError.
    """
    occupied = [each for one in config.server for each in _own(one) or ()]
    return from_number(arena_start(occupied))[:PREFIX_LENGTH].hex()


def _bits(config: FarmConfig) -> int:
    return enough_bits(sum(one.ids is None for one in config.managed))
