"""Fig. 2 of the patent as one function: where a connection goes, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Literal

import attrs

from homing.balancer.learned import LearnedIds
from homing.balancer.policies import Policy
from homing.balancer.table import Entry, Table
from homing.shared.candidates import Candidate, Carrier, candidates
from homing.shared.client_hello import ClientHello, NotClientHello


class Reason(Enum):
    """Why a connection went where it went; the text goes into the log."""

    OWNER = "its identifier belongs to this server"
    LEARNED = "this server was seen to give its identifier out"
    GROUP = "its identifier belongs to the group of this server"
    OWNER_DOWN = "the server its identifier belongs to is down: chosen by the policy"
    OWNER_BUSY = "the server its identifier belongs to is busy: chosen by the policy"
    SERVER_EXCESS = (
        "too many come back to the server its identifier belongs to: chosen by the policy"
    )
    SOURCE_EXCESS = "too many come back from its address: chosen by the policy"
    DEFAULT_SERVER = "no entry lists its identifier: the default server"
    UNLISTED = "no entry lists its identifier: chosen by the policy"
    NO_IDENTIFIER = "it brings no identifier: chosen by the policy"
    IGNORED = "identifiers are ignored: chosen by the policy"
    NOT_A_HELLO = "it is not a ClientHello: chosen by the policy"
    REFUSED = "it is not a ClientHello: closed"
    ALL_BUSY = "no server has room"
    NOBODY = "no server is up"
    CROWDED_OUT = "too many connections wait"
    NO_HELLO = "its hello did not come in time"
    TOO_MANY_OPEN = "too many connections are open"
    TOO_MANY_FROM_SOURCE = "too many come from one address"

    __hash__ = object.__hash__  # Enum's is a function in Python, and every connection is counted


FOLLOWED = frozenset({Reason.OWNER, Reason.LEARNED, Reason.GROUP})
"""The reasons for following an identifier."""

Step = (
    tuple[Literal[208], NotClientHello | tuple[Candidate, ...]]
    | tuple[Literal[212], Candidate, Entry | str | None]
    | tuple[Literal[210, 214], str | None]
)
"""A step by its number in Fig. 2, and what was found there.

208: the identifiers that the hello brings.  212: one of them, and the entry that lists it, or the
server it was learned from.  210: the server that the policy chose, None where none is up.  214: the
server that was found."""


@attrs.define
class Decision:
    """The server that gets a connection, None where none does, and what led there."""

    server: str | None
    reason: Reason
    candidate: Candidate | None = None
    """The identifier that decided, where one did."""
    owner: str | None = None
    """The server the table names for it, also when that one is down."""
    steps: list[Step] = attrs.field(factory=list, eq=False)


@attrs.frozen
class Rules:
    """What a balancer routes by; a value, so that a change is one assignment."""

    table: Table
    policy: Policy
    ignore_ids: bool = False
    close_not_tls: bool = False
    groups: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """By owner, a group or a member of one: the servers that know its sessions (patent, p. 7)."""
    learned: LearnedIds | None = None
    """The identifiers that relayed servers were seen to give out; they come before the table."""
    key_names: LearnedIds | None = None
    """The same for the key names of their tickets, each of which stands for many."""
    draining: frozenset[str] = frozenset()
    """The servers that only identifiers lead to."""

    def seen_at(self, identifier: bytes, now: float) -> str | None:
        """The server that was seen to give `identifier` out."""
        seen = None if self.learned is None else self.learned.owner(identifier, now)
        if seen is None and self.key_names is not None:
            seen = self.key_names.owner(identifier, now)
        return seen

    def owner_of(self, identifier: bytes, now: float) -> str | None:
        """Whom an identifier sends its client to; None where the default server or the policy."""
        seen = self.seen_at(identifier, now)
        entry = self.table.find(identifier) if seen is None else None
        return entry.owner if entry is not None else seen

    def is_home(self, server: str, owner: str) -> bool:
        """Whether `server` knows the sessions of `owner`, as the table names it."""
        return server == owner or server in self.groups.get(owner, ())

    def may_claim(self, server: str, identifier: bytes) -> bool:
        """Whether no other server's entry lists `identifier`."""
        entry = self.table.find(identifier)
        return entry is None or self.is_home(server, entry.owner)


@attrs.frozen
class Excluded:
    """The servers that a connection does not go to, and why."""

    servers: Mapping[str, Reason] = MappingProxyType({})
    identifiers: Reason | None = None
    """Why its identifiers are not followed, where they are not."""


NOTHING = Excluded()


def decide(
    rules: Rules,
    hello: ClientHello | NotClientHello,
    up: Sequence[str],
    source: str,
    now: float = 0.0,
    excluded: Excluded = NOTHING,
) -> Decision:
    """Route a new connection from `source`, an IP address, to one of the servers that are `up`.

    The step numbers are those of Fig. 2.  Steps 204 and 206, sessions in progress, need no look-up
    here: a TCP connection stays where its first packets went.
    """
    if excluded.servers:
        up = [server for server in up if server not in excluded.servers]
    decision = _follow(rules, hello, up, source, now, excluded)
    if decision.server is not None:
        decision.steps.append((214, decision.server))
    elif decision.reason is not Reason.REFUSED:
        choices = _not_draining(rules, up)
        if choices:
            decision.server = rules.policy.choose(choices, source)
        else:
            decision.reason = Reason.NOBODY
        decision.steps.append((210, decision.server))
    return decision


Usual = tuple[str, Reason, tuple[Carrier, bytes] | None]
"""Server, reason, and the identifier that decided, as in a `Decision`."""


def decide_usual(
    rules: Rules,
    brought: Sequence[tuple[Carrier, bytes]],
    up: Sequence[str],
    source: str,
    now: float,
) -> Usual | None:
    """What `decide` says of a hello that brings this, where that is simple to tell, without steps.

    That is so where the owner of an identifier is up, or nothing lists any.  None where it is not:
    nothing has been chosen then.
    """
    if rules.ignore_ids:
        return None
    learns = rules.learned is not None or rules.key_names is not None
    for one in brought:
        identifier = one[1]
        seen = rules.seen_at(identifier, now) if learns else None
        if seen is not None:
            return (seen, Reason.LEARNED, one) if seen in up else None
        entry = rules.table.find(identifier)
        if entry is not None:
            return (entry.owner, Reason.OWNER, one) if entry.owner in up else None
    default = rules.table.default
    if brought and default is not None and default in up and default not in rules.draining:
        return default, Reason.DEFAULT_SERVER, brought[0]
    choices = _not_draining(rules, up)
    if not choices:
        return None
    server = rules.policy.choose(choices, source)
    return (
        (server, Reason.UNLISTED, brought[0]) if brought else (server, Reason.NO_IDENTIFIER, None)
    )


def _follow(
    rules: Rules,
    hello: ClientHello | NotClientHello,
    up: Sequence[str],
    source: str,
    now: float,
    excluded: Excluded,
) -> Decision:
    """Where the hello sends the connection; to no server where the policy has to choose one."""
    if isinstance(hello, NotClientHello):
        reason = Reason.REFUSED if rules.close_not_tls else Reason.NOT_A_HELLO
        return Decision(None, reason, steps=[(208, hello)])
    brought = candidates(hello)
    steps: list[Step] = [(208, brought)]
    if rules.ignore_ids or excluded.identifiers:
        return Decision(None, excluded.identifiers or Reason.IGNORED, steps=steps)
    elsewhere: Decision | None = None
    for candidate in brought:
        found, reason = _find(rules, candidate.identifier, up, now)
        steps.append((212, candidate, found))
        if found is None:
            continue
        owner = found if isinstance(found, str) else found.owner
        if owner in up:
            return Decision(owner, reason, candidate, owner, steps)
        members = [server for server in rules.groups.get(owner, ()) if server in up]
        if members:
            chosen = rules.policy.choose(_not_draining(rules, members) or members, source)
            return Decision(chosen, Reason.GROUP, candidate, owner, steps)
        if elsewhere is None:
            reason = _why_not(rules, owner, excluded.servers)
            elsewhere = Decision(None, reason, candidate, owner, steps)
    if elsewhere:
        return elsewhere
    if not brought:
        return Decision(None, Reason.NO_IDENTIFIER, steps=steps)
    default = rules.table.default
    if default in up and default not in rules.draining:
        return Decision(default, Reason.DEFAULT_SERVER, brought[0], None, steps)
    return Decision(None, Reason.UNLISTED, brought[0], None, steps)


def _not_draining(rules: Rules, servers: Sequence[str]) -> Sequence[str]:
    if not rules.draining:
        return servers
    return [server for server in servers if server not in rules.draining]


def _find(
    rules: Rules, identifier: bytes, up: Sequence[str], now: float
) -> tuple[Entry | str | None, Reason]:
    """What lists an identifier: those seen to be given out; "only if a match is not found", the
    table (patent, p. 8), also where the server that gave it out is down."""
    seen = rules.seen_at(identifier, now)
    if seen is not None and seen in up:
        return seen, Reason.LEARNED
    entry = rules.table.find(identifier)
    return (entry, Reason.OWNER) if entry is not None or seen is None else (seen, Reason.LEARNED)


def _why_not(rules: Rules, owner: str, excluded: Mapping[str, Reason]) -> Reason:
    """Why neither the owner nor a server of its group gets the connection, down or not."""
    for server in (owner, *rules.groups.get(owner, ())):
        reason = excluded.get(server, Reason.OWNER_DOWN)
        if reason is not Reason.OWNER_DOWN:
            return reason
    return Reason.OWNER_DOWN
