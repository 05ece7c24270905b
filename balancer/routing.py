"""Fig. 2 of the patent as one function: where a connection goes, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType

import attrs

from homing.balancer.learned import LearnedIds
from homing.balancer.policies import Policy
from homing.balancer.table import Table
from homing.shared.candidates import Candidate, candidates
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


FOLLOWED = frozenset({Reason.OWNER, Reason.LEARNED, Reason.GROUP})
"""The reasons of connections that went where their identifier sends them."""


@attrs.frozen
class Decision:
    """The server that gets a connection, None where nobody does, and what led there."""

    server: str | None
    reason: Reason
    candidate: Candidate | None = None
    """The identifier that decided, where one did."""
    owner: str | None = None
    """The server the table names for it, also when that one is down."""


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


def decide(
    rules: Rules,
    hello: ClientHello | NotClientHello,
    up: Sequence[str],
    source: str,
    now: float = 0.0,
    tried: Mapping[str, Reason] = MappingProxyType({}),
    unfollowed: Reason | None = None,
) -> Decision:
    """Route a new connection from `source`, an IP address, to one of the servers that are `up`.

    It goes to none of those it has `tried`, each with the reason.  `unfollowed` says why its
    identifiers are not followed, where they are not.

    The step numbers are those of Fig. 2.  Steps 204 and 206, sessions in progress, need no look-up
    here: a TCP connection stays where its first packets went.
    """
    if tried:
        up = [server for server in up if server not in tried]
    if isinstance(hello, NotClientHello):  # 208
        if rules.close_not_tls:
            return Decision(None, Reason.REFUSED)
        return _by_policy(rules, up, source, Decision(None, Reason.NOT_A_HELLO))  # 210
    if rules.ignore_ids or unfollowed:
        return _by_policy(rules, up, source, Decision(None, unfollowed or Reason.IGNORED))
    brought = candidates(hello)
    elsewhere: Decision | None = None
    for candidate in brought:
        owner, reason = _owner(rules, candidate.identifier, now)  # 212
        if owner is None:
            continue
        if owner in up:
            return Decision(owner, reason, candidate, owner)  # 214
        fellows = [server for server in rules.groups.get(owner, ()) if server in up]
        if fellows:
            chosen = rules.policy.choose(fellows, source)
            return Decision(chosen, Reason.GROUP, candidate, owner)
        elsewhere = elsewhere or Decision(None, _why_not(rules, owner, tried), candidate, owner)
    if elsewhere:
        return _by_policy(rules, up, source, elsewhere)
    if not brought:
        return _by_policy(rules, up, source, Decision(None, Reason.NO_IDENTIFIER))  # 210
    default = rules.table.default
    if default in up:
        return Decision(default, Reason.DEFAULT_SERVER, brought[0])
    return _by_policy(rules, up, source, Decision(None, Reason.UNLISTED, brought[0]))


def _owner(rules: Rules, identifier: bytes, now: float) -> tuple[str | None, Reason]:
    """Whose an identifier is; what was learned never overrides an entry of the table."""
    entry = rules.table.find(identifier)
    if entry is None and rules.learned is not None:
        return rules.learned.owner(identifier, now), Reason.LEARNED
    return entry.owner if entry else None, Reason.OWNER


def _why_not(rules: Rules, owner: str, tried: Mapping[str, Reason]) -> Reason:
    """Why neither an owner nor its fellows get a connection: they may be up, but not have it."""
    for server in (owner, *rules.groups.get(owner, ())):
        reason = tried.get(server, Reason.OWNER_DOWN)
        if reason is not Reason.OWNER_DOWN:
            return reason
    return Reason.OWNER_DOWN


def _by_policy(rules: Rules, up: Sequence[str], source: str, decision: Decision) -> Decision:
    """`decision` with a server chosen by the policy, if any is up."""
    if not up:
        return attrs.evolve(decision, reason=Reason.NOBODY)
    return attrs.evolve(decision, server=rules.policy.choose(up, source))
