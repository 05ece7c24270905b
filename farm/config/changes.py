"""The changes between two versions of farm.toml, and what must restart for each.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import chain
from typing import Any

import attrs

from homing.farm.config.sections import FarmConfig, ServerSection
from homing.farm.config.values import Endpoint, Ids, ListFile, Percent
from homing.shared.id_sets import IdList, IdSet, MandatoryBits


class Needs(Enum):
    """What has to start again before a change is in force."""

    NOTHING = "nothing"
    REGISTRY = "nothing: the farm moves what must move, by its registry"
    BALANCER = "the balancer"
    SERVERS = "the servers"
    FARM = "the whole farm: balancers and servers must agree on it"
    LISTENER = "homing farm, or a balancer that runs alone"


_NEEDS = {
    f"{section}.{key}": needs
    for needs, section, keys in (
        (Needs.NOTHING, "balancer", "policy default_server not_tls ignore_ids hello_timeout"),
        (Needs.NOTHING, "balancer", "max_hello max_waiting log_decisions"),
        (Needs.NOTHING, "balancer", "max_connections max_source_rate"),
        (Needs.NOTHING, "balancer", "source_rate server_excess"),
        (Needs.NOTHING, "tls", "certificate key"),
        (Needs.BALANCER, "balancer", "connect_timeout idle_timeout learned_ids learned_lifetime"),
        (Needs.LISTENER, "balancer", "listen workers"),
        (Needs.SERVERS, "farm", "log_connections"),
        (Needs.SERVERS, "session_ids", "renew_tickets"),
        (Needs.SERVERS, "tls", "renegotiation"),
        (Needs.SERVERS, "server", "app proxy_protocol_from"),
        (Needs.NOTHING, "session_ids", "moving"),
        (Needs.BALANCER, "server", "weight"),
        (Needs.BALANCER, "server", "tls_name ca probe learn_ids"),
    )
    for key in keys.split()
}
"""What a change of each key needs.  Other keys may decide who owns what: they need `FARM`."""

_SERVER = "server"
_THROUGH_REGISTRY = {_SERVER, "session_ids.moving", "session_ids.spare"} | {
    f"server.{key}" for key in ["address", "share", "max_ids", "weight"]
}
"""What needs nothing where there is a registry; `_SERVER`: that a server comes or goes."""

_SECTIONS = ("farm", "balancer", "session_ids", "tls")
_LONGEST = 150
_DIGITS = 16


@attrs.frozen
class Change:
    """One key with another value."""

    key: str
    old: str
    new: str
    needs: Needs

    @property
    def live(self) -> bool:
        """Whether it can be applied without a restart."""
        return self.needs in (Needs.NOTHING, Needs.REGISTRY)

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def changes(old: FarmConfig, new: FarmConfig) -> list[Change]:
    """Every key that differs, in the order of the file."""
    needs = _needs(old, new)
    sections = (_fields(getattr(old, one), getattr(new, one), one, one, needs) for one in _SECTIONS)
    return [*chain.from_iterable(sections), *_in_servers(old, new, needs)]


def in_force(
    old: FarmConfig, new: FarmConfig, taken: frozenset[Needs] = frozenset({Needs.NOTHING})
) -> FarmConfig:
    """`old`, with the values of `new` for the keys whose need is among `taken`."""
    needs = _needs(old, new)
    sections = {
        one: _taken(one, getattr(old, one), getattr(new, one), needs, taken) for one in _SECTIONS
    }
    return attrs.evolve(old, server=_taken_servers(old, new, needs, taken), **sections)


def _taken_servers(
    old: FarmConfig, new: FarmConfig, needs: Callable[[str], Needs], taken: frozenset[Needs]
) -> list[ServerSection]:
    before, after = ({one.name: one for one in config.server} for config in (old, new))
    names = after if needs(_SERVER) in taken else before
    return [
        _taken(_SERVER, before[name], after.get(name, before[name]), needs, taken)
        if name in before
        else after[name]
        for name in names
    ]


def _taken(
    name: str, old: Any, new: Any, needs: Callable[[str], Needs], taken: frozenset[Needs]
) -> Any:
    """The same for one section."""
    keys = attrs.fields_dict(type(old))
    return attrs.evolve(
        old, **{key: getattr(new, key) for key in keys if needs(f"{name}.{key}") in taken}
    )


def _needs(old: FarmConfig, new: FarmConfig) -> Callable[[str], Needs]:
    """What a change of a key needs."""
    by_registry = old.has_registry and old.farm.registry == new.farm.registry

    def needs(key: str) -> Needs:
        if by_registry and key in _THROUGH_REGISTRY:
            return Needs.REGISTRY
        return _NEEDS.get(key, Needs.FARM)

    return needs


def _in_servers(
    old: FarmConfig, new: FarmConfig, needs: Callable[[str], Needs]
) -> Iterator[Change]:
    before, after = ({one.name: one for one in config.server} for config in (old, new))
    for name, server in before.items():
        if name in after:
            yield from _fields(server, after[name], _SERVER, f'server "{name}"', needs)
        else:
            yield Change(f'server "{name}"', str(server.address), "removed", needs(_SERVER))
    for name in after.keys() - before.keys():
        yield Change(f'server "{name}"', "not there", str(after[name].address), needs(_SERVER))
    if before.keys() == after.keys() and list(before) != list(after):
        words = [", ".join(before), ", ".join(after)]
        yield Change("the order of servers", words[0], words[1], needs(_SERVER))


def _fields(
    old: Any, new: Any, section: str, shown: str, needs: Callable[[str], Needs]
) -> Iterator[Change]:
    for field in attrs.fields(type(old)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            words = [_words(one) if field.repr else "(not shown)" for one in (before, after)]
            need = needs(f"{section}.{field.name}")
            yield Change(f"{shown}.{field.name}", words[0], words[1], need)


def _words(value: object) -> str:
    """A value much as farm.toml writes it; a long one is cut."""
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
    match one:
        case ListFile():
            return one.path
        case IdList():
            return f"list of {len(one.members)}"
        case MandatoryBits():
            return f"mask {_short(one.mask, 0)} value {_short(one.value, 0)}"
        case _:
            return f"{_short(one.first, 0)} to {_short(one.last, 0xFF)}"


def _short(identifier: bytes, padding: int) -> str:
    """Its hex digits as farm.toml may write them, without what is padded; many are cut."""
    digits = (identifier[:1] + identifier[1:].rstrip(bytes([padding]))).hex()
    return digits if len(digits) <= _DIGITS else f"{digits[:_DIGITS]}..."
