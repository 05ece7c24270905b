"""The values in the registry.  Pure.

Secrets are never among them: of keys there are fingerprints only.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from homing.shared.id_sets import IdSet
from homing.shared.moves import PartStep, Way
from homing.shared.schemes.division import Division

SPARE = ""
"""The next owner of a part that becomes spare."""


@attrs.frozen
class FarmValue:
    """What all of the farm agree on.  The manager writes it; servers need no farm.toml besides."""

    scheme: str
    prefix: str = ""
    """The arena, in hex; empty where the scheme is a function."""
    bits: int = 0
    spare: float = 0.2
    """The part of all identifiers that is kept unassigned."""
    moving: Way = Way.EXCEPTIONS
    """How parts move that were drawn from, unless somebody asks for another way."""
    lifetime: int = 7200
    """Seconds that sessions live."""
    resumption: str = "both"
    fingerprint: str = ""
    """Of the keys that the scheme uses."""

    @property
    def division(self) -> Division:
        """How the scheme's identifiers are cut into parts.  Raises ValueError."""
        return Division(bytes.fromhex(self.prefix), self.bits)


@attrs.frozen
class PartValue:
    """A part that has an owner; one that has none is spare, and has no value."""

    owner: str
    drawn: bool = False
    """Whether identifiers may have been drawn from it; the owner says so before it draws."""
    step: PartStep = PartStep.HELD
    next: str | None = None
    """Who owns it next; `SPARE`: nobody; None: it does not move."""
    how: Way = Way.DRAIN
    at: float | None = None
    """When a scheduled move takes effect, in seconds since 1970."""
    max_ids: int | None = None
    """Identifiers that its owner may draw from it, the lowest; None: all."""
    note: str = ""
    """For people: why it moves in another way than was asked for."""


@attrs.frozen
class Needs:
    """What a server says it wants (patent, p. 10)."""

    sessions: int = 20_480
    """Sessions that it can hold."""
    share: float | None = None
    """Its part of all that is assigned."""
    max_ids: int | None = None
    more: bool = False
    """It is near the end of its record."""


@attrs.frozen
class Live:
    """What lives at a server in one part that it has drawn from."""

    part: int
    sessions: int
    seconds: float
    """Until the last of them expires."""


class ServerState(StrEnum):
    """What people want of a server."""

    ACTIVE = "active"
    DRAINING = "draining"
    """It shall get no new clients and own nothing; it keeps its sessions until they are over."""
    REMOVED = "removed"
    """As draining; once it owns nothing, and has ended, it is no longer of the farm."""
    GONE = "gone"
    """It has been removed; a mark for farm.toml, which still has it."""


@attrs.frozen
class ServerFacts:
    """How balancers reach a server, and what is known of it beforehand."""

    address: str
    """As in farm.toml: unix:PATH or tcp:HOST:PORT."""
    managed: bool = True
    group: str | None = None
    proxy_protocol: bool = False
    ids: tuple[IdSet, ...] | None = None
    """A record of its own, which the table follows."""


@attrs.frozen
class ServerPresence:
    """A server that is there."""

    facts: ServerFacts
    incarnation: str
    """Random: another one is another process."""
    epoch: int = 0
    """The revision of the state that its record follows."""
    needs: Needs = Needs()
    sessions: int = 0
    live: tuple[Live, ...] = ()
    """Only of parts that are under way."""
    answers: int = 0
    """The hello signal that it has answered."""
    fingerprint: str = ""


@attrs.frozen
class Assignment:
    """A server may draw from what it owns as long as this is there."""

    incarnation: str
    home: str
    """The machine and state folder of its process: as a lock there keeps its name from being taken
    twice, who comes from there succeeds it at once."""
    until: str = ""
    """For people: when it ends unless it is renewed."""


@attrs.frozen
class BalancerPresence:
    """A balancer that is there."""

    incarnation: str
    home: str = ""
    """As that of a server."""
    epoch: int = 0
    """The revision of the state that its table follows."""
    listen: tuple[str, ...] = ()
    fingerprint: str = ""


@attrs.frozen
class ManagerPresence:
    """The balancer that manages."""

    name: str
    incarnation: str
    home: str = ""


@attrs.frozen
class Wish:
    """What people want of a server: by farm.toml, by a command, or because it came by itself."""

    facts: ServerFacts
    state: ServerState = ServerState.ACTIVE
    share: float | None = None
    max_ids: int | None = None
    weight: float = 1.0
    sessions: int = 0
    """Sessions that it can hold, as it said last; 0: it has not said so yet."""
    how: Way | None = None
    """How its parts leave it; None: as the farm does."""
    source: str = ""
    """farm.toml, command or itself."""
    digest: str = ""
    """Of what farm.toml said of it when it was last taken over."""


@attrs.frozen
class Record:
    """Identifiers that a server brought itself and that the farm has accepted."""

    ids: tuple[IdSet, ...]


@attrs.frozen
class Refusal:
    """Why a server is not of the farm."""

    incarnation: str
    why: str


@attrs.frozen
class Exceptions:
    """A page of identifiers that live at a server, although their part has another owner."""

    identifiers: tuple[str, ...]
    """In hex: session IDs, and key names of tickets."""
    ended: tuple[str, ...] = ()
    """Those that live no more; nobody draws them until all tables are without them."""


@attrs.frozen
class Reassign:
    """Somebody has asked to even the farm; the manager does so once, and removes it."""

    how: Way | None = None
    at: float | None = None
    """When scheduled moves take effect, in seconds since 1970."""


@attrs.frozen
class Call:
    """A hello signal: every server that is there answers with its needs (patent, p. 10)."""

    number: int
    by: str = ""
    """The incarnation of the manager that calls."""


@attrs.frozen
class Names:
    """The servers that a scheme by function knows."""

    names: tuple[str, ...]
