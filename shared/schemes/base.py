"""What a scheme is, what it is asked, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

import attrs

from homing.shared.by_function import ByFunction, OwnerFunction
from homing.shared.errors import HomingError
from homing.shared.id_sets import IdSet
from homing.shared.part import Part
from homing.shared.schemes.division import Division, Locate


class AllocationError(HomingError):
    """The scheme cannot assign what is asked for; the text begins with the key of farm.toml."""


@attrs.frozen
class Need:
    """What one owner asks for: a `share` of all identifiers, `max_ids`, or an even part."""

    owner: str
    share: Fraction | None = None
    max_ids: int | None = None


@attrs.frozen
class Settings:
    """What [session_ids] says to schemes."""

    spare: Fraction
    """The part of all identifiers that stays unassigned."""
    cache: int
    """Sessions that a server keeps at most."""
    function: str | None
    """The user's function, as module:callable."""


class BlockCipher(Protocol):
    """AES-128 under one key, a block of 16 bytes at a time."""

    def encrypt(self, block: bytes) -> bytes:
        """A block encrypted."""

    def decrypt(self, block: bytes) -> bytes:
        """A block decrypted."""


SEED_LENGTH = 32


class Secrets(Protocol):
    """The farm's keys.  Asking raises HomingError when they cannot be had."""

    def seed(self, owner: str) -> bytes:
        """`SEED_LENGTH` random bytes, of one owner alone."""

    def farm_ciphers(self) -> Sequence[BlockCipher]:
        """The keys of the farm; servers draw with the first."""


@attrs.frozen
class Request:
    """All that a scheme assigns identifiers by."""

    needs: tuple[Need, ...]
    occupied: tuple[IdSet, ...]
    """What servers bring themselves: nobody else gets any of it."""
    settings: Settings
    secrets: Secrets
    known: Collection[str] | None
    """The owners whose secrets this process may read; None for all."""
    report: Callable[[str], None]
    """Logs, in words, what is wrong with the user's code."""

    @property
    def owners(self) -> tuple[str, ...]:
        """Who gets identifiers."""
        return tuple(need.owner for need in self.needs)

    def by_function(self, scheme: str, function: OwnerFunction) -> dict[str, Part]:
        """What each owner has by `function`."""
        return {one: ByFunction(scheme, function, one, self.occupied) for one in self.owners}


@attrs.frozen(kw_only=True)
class Scheme:
    """One way to assign identifiers."""

    name: str
    assign: Callable[[Request], Mapping[str, Part]]
    """The part of every owner, in order; none overlaps another.  Raises HomingError."""
    cut: Callable[[Division, int], IdSet] | None = None
    """The set of a part of a division, by its number; None for schemes by function."""
    locate: Callable[[Division], Locate] | None = None
    """The number of the part that has an identifier, in O(1): what `cut` does, backwards."""
    limits: Callable[[Sequence[Need], Settings], Iterable[str]] = lambda needs, settings: ()
    """What in farm.toml exceeds the scheme's limits: a message for each fault, with its key."""
    server_keys: frozenset[str] = frozenset()
    """Which of a server's keys ``share`` and ``max_ids`` it heeds."""
    own_key: str | None = None
    """The key of [session_ids] that it needs and no other scheme takes."""
    demo: str = ""
    """What its demo farm says in [session_ids] besides."""
    each_its_own: bool = False
    """Whether each server of a group gets a part, though the table names the group."""
    key_rotates: bool = False
    """Whether the farm's key may change in mid-run."""
