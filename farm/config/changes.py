"""The changes between two versions of farm.toml, and what must restart for each.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import chain
from typing import Any

import attrs

from homing.farm.config.sections import FarmConfig
from homing.farm.config.values import Endpoint, Ids, ListFile, Percent
from homing.shared.id_sets import IdList, IdSet, MandatoryBits


class Needs(Enum):
    """What has to start again before a change is in force."""

    NOTHING = "nothing"
    BALANCER = "the balancer"
    SERVERS = "the servers"
    FARM = "the whole farm: balancers and servers must agree on it"
    LISTENER = "homing farm, or a balancer that runs alone"


_NEEDS = {
    f"{section}.{key}": needs
    for needs, section, keys in (
        (Needs.NOTHING, "balancer", "policy default_server not_tls ignore_ids hello_timeout"),
        (Needs.NOTHING, "balancer", "max_hello max_waiting log_decisions"),
        (Needs.NOTHING, "balancer", "source_rate server_excess"),
        (Needs.NOTHING, "tls", "certificate key"),
        (Needs.BALANCER, "balancer", "connect_timeout idle_timeout learned_ids learned_lifetime"),
        (Needs.LISTENER, "balancer", "listen"),
        (Needs.SERVERS, "farm", "log_connections"),
        (Needs.SERVERS, "session_ids", "renew_tickets"),
        (Needs.SERVERS, "tls", "renegotiation"),
        (Needs.SERVERS, "server", "app proxy_protocol_from"),
        (Needs.BALANCER, "server", "tls_name ca probe learn_ids"),
    )
    for key in keys.split()
}
"""What a change of each key needs.  Other keys may decide who owns what: they need `FARM`."""

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
        return self.needs is Needs.NOTHING

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def changes(old: FarmConfig, new: FarmConfig) -> list[Change]:
    """Every key that differs, in the order of the file."""
    sections = (_fields(getattr(old, one), getattr(new, one), one, one) for one in _SECTIONS)
    return [*chain.from_iterable(sections), *_in_servers(old, new)]


def in_force(
    old: FarmConfig, new: FarmConfig, taken: frozenset[Needs] = frozenset({Needs.NOTHING})
) -> FarmConfig:
    """`old`, with the values of `new` for the keys whose need is among `taken`."""
    sections = {one: _taken(one, getattr(old, one), getattr(new, one), taken) for one in _SECTIONS}
    by_name = {one.name: one for one in new.server}
    servers = [_taken("server", one, by_name.get(one.name, one), taken) for one in old.server]
    return attrs.evolve(old, server=servers, **sections)


def _taken(name: str, old: Any, new: Any, taken: frozenset[Needs]) -> Any:
    """The same for one section."""
    keys = attrs.fields_dict(type(old))
    return attrs.evolve(
        old, **{key: getattr(new, key) for key in keys if _needs(f"{name}.{key}") in taken}
    )


def _needs(key: str) -> Needs:
    return _NEEDS.get(key, Needs.FARM)


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
