"""What differs between two farm.toml, and what it takes for that to be in force.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import attrs

from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import Endpoint, Ids, ListFile, Percent
from homing.shared.id_sets import IdSet


class Needs(Enum):
    """What has to start again before a change is in force."""

    NOTHING = "nothing"
    BALANCER = "the balancer"
    SERVERS = "the servers"
    FARM = "the whole farm: balancers and servers must agree on it"
    LISTENER = "homing-farm, or a balancer that runs alone"


_NEEDS = {
    **dict.fromkeys(
        (
            "balancer.policy",
            "balancer.default_server",
            "balancer.not_tls",
            "balancer.ignore_ids",
            "balancer.hello_timeout",
            "balancer.max_hello",
            "balancer.max_waiting",
            "balancer.log_decisions",
            "balancer.source_rate",
            "balancer.server_excess",
            "tls.certificate",
            "tls.key",
        ),
        Needs.NOTHING,
    ),
    **dict.fromkeys(
        (
            "balancer.connect_timeout",
            "balancer.idle_timeout",
            "balancer.learned_ids",
            "balancer.learned_lifetime",
        ),
        Needs.BALANCER,
    ),
    "balancer.listen": Needs.LISTENER,
    **dict.fromkeys(
        (
            "farm.log_connections",
            "session_ids.renew_tickets",
            "tls.renegotiation",
            "server.app",
            "server.proxy_protocol_from",
        ),
        Needs.SERVERS,
    ),
}
"""By key; a key that is not here may decide who owns what, and needs all of the farm."""

_SECTIONS = ("farm", "balancer", "session_ids", "tls")
_LONGEST = 150


@attrs.frozen
class Change:
    """One key with another value."""

    key: str
    old: str
    new: str
    needs: Needs

    @property
    def live(self) -> bool:
        """Whether it can be in force at once."""
        return self.needs is Needs.NOTHING

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def changes(old: FarmConfig, new: FarmConfig) -> list[Change]:
    """Every key that differs, in the order of the file."""
    return [
        *(one for name in _SECTIONS for one in _in_section(name, old, new)),
        *_in_servers(old, new),
    ]


def in_force(
    old: FarmConfig, new: FarmConfig, taken: frozenset[Needs] = frozenset({Needs.NOTHING})
) -> FarmConfig:
    """`old` with the keys of `new` that need no more than what is `taken`."""
    sections = {
        name: attrs.evolve(
            getattr(old, name),
            **{
                field.name: getattr(getattr(new, name), field.name)
                for field in attrs.fields(type(getattr(old, name)))
                if _needs(f"{name}.{field.name}") in taken
            },
        )
        for name in _SECTIONS
    }
    by_name = {one.name: one for one in new.server}
    servers = [_server_in_force(one, by_name.get(one.name), taken) for one in old.server]
    return attrs.evolve(old, server=servers, **sections)


def _server_in_force(
    old: ServerSection, new: ServerSection | None, taken: frozenset[Needs]
) -> ServerSection:
    if new is None:
        return old
    kept = {
        field.name: getattr(new, field.name)
        for field in attrs.fields(ServerSection)
        if _needs(f"server.{field.name}") in taken
    }
    return attrs.evolve(old, **kept)


def _needs(key: str) -> Needs:
    return _NEEDS.get(key, Needs.FARM)


def _in_section(name: str, old: FarmConfig, new: FarmConfig) -> Iterator[Change]:
    yield from _fields(getattr(old, name), getattr(new, name), name, name)


def _in_servers(old: FarmConfig, new: FarmConfig) -> Iterator[Change]:
    before, after = ({one.name: one for one in config.server} for config in (old, new))
    for name, server in before.items():
        if name in after:
            yield from _fields(server, after[name], "server", f'server "{name}"')
        else:
            yield Change(f'server "{name}"', str(server.address), "removed", Needs.FARM)
    for name in after.keys() - before.keys():
        yield Change(f'server "{name}"', "not there", str(after[name].address), Needs.FARM)
    if before.keys() == after.keys() and list(before) != list(after):
        yield Change("the order of servers", ", ".join(before), ", ".join(after), Needs.FARM)


def _fields(old: Any, new: Any, section: str, shown: str) -> Iterator[Change]:
    for field in attrs.fields(type(old)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            words = [_words(one) if field.repr else "(not shown)" for one in (before, after)]
            needs = _needs(f"{section}.{field.name}")
            yield Change(f"{shown}.{field.name}", words[0], words[1], needs)


def _words(value: object) -> str:
    """A value as farm.toml would have it, more or less; long ones are cut."""
    match value:
        case None:
            words = "not set"
        case bool():
            words = str(value).lower()
        case Percent():
            words = f"{float(100 * value.part):g}%"
        case Endpoint():
            words = str(value)
        case Ids():
            words = ", ".join(map(_of_set, value.sets))
        case list() | tuple():
            words = ", ".join(map(_words, value))
        case _:
            words = str(value)
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _of_set(one: IdSet | ListFile) -> str:
    return one.path if isinstance(one, ListFile) else f"{one.first.hex()} to {one.last.hex()}"
