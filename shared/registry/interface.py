"""What a registry is: keys with values that change in transactions, followed by everybody.

Three implementations, one conformance suite: `memory` (the model), `sqlite` (the processes of one
user on one machine) and `etcd` (several machines).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from homing.shared.errors import HomingError

LARGEST_VALUE = 1 << 20
"""Bytes of a value, and of all values of one transaction, at most (etcd takes 1.5 MB)."""
MOST_OPERATIONS = 128
"""Compared, put and deleted keys of one transaction, at most (etcd's own limit)."""
LONGEST_KEY = 512
"""Characters of a key, at most; each is printable."""


class RegistryError(HomingError):
    """What was asked of the registry failed."""


class Unavailable(RegistryError):
    """It did not answer, or not in time: what was asked may have happened or not."""


class NotYet(Unavailable):
    """It has neither answered nor failed so far."""

    def __init__(self) -> None:
        super().__init__("it has not answered yet")


class Refused(RegistryError):
    """It answered that this may not be: asking again is of no use before somebody changes that."""


class LeaseLost(RegistryError):
    """The lease has ended, and so have the keys that were tied to it."""


@attrs.frozen
class Item:
    """The value of a key."""

    value: bytes
    revision: int
    """That of the transaction that put it."""
    lease: int = 0
    """The lease that it ends with; 0: none."""


@attrs.frozen
class Batch:
    """All that one or more transactions in a row changed, up to `revision`."""

    revision: int
    puts: Mapping[str, Item] = attrs.field(factory=dict)
    deletes: frozenset[str] = frozenset()
    is_whole: bool = False
    """Whether `puts` is all there is: what is not in it is gone."""


@attrs.frozen
class Transaction:
    """Changes that happen together or, if `expected` does not hold, not at all.

    It must expect something of every key that it changes: then to send it twice does no harm.
    """

    expected: Mapping[str, int]
    """By key, the revision of its item; 0: there must be none."""
    puts: Mapping[str, bytes] = attrs.field(factory=dict)
    deletes: frozenset[str] = frozenset()
    lease: int = 0
    """What is put ends with this lease; 0: with none."""

    def __attrs_post_init__(self) -> None:
        if not (self.puts.keys() | self.deletes) <= self.expected.keys():
            raise ValueError("the transaction changes keys of which it expects nothing")
        if self.puts.keys() & self.deletes:
            raise ValueError("the transaction puts and deletes the same key")


def check_limits(transaction: Transaction) -> None:
    """Raises Refused when the transaction, or anything in it, is too large for a registry."""
    if len(transaction.expected) > MOST_OPERATIONS:
        raise Refused(f"a transaction of {len(transaction.expected)} keys is too large")
    for key in transaction.expected:
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise Refused(f"{key[:40]!r} cannot be a key: too long, empty or not printable")
    size = sum(len(value) for value in transaction.puts.values())
    if size > LARGEST_VALUE:
        raise Refused(f"values of {size} bytes are too large for one transaction")


class Registry(Protocol):
    """A registry.  Every call ends within `TIMEOUT`, with an answer or a RegistryError."""

    async def commit(self, transaction: Transaction) -> int | None:
        """The revision at which it happened; None if `expected` does not hold.

        One that changes nothing has the revision of the last change.  Raises LeaseLost if its
        lease has ended, Unavailable and Refused.
        """

    async def grant(self, seconds: float) -> int:
        """A new lease, which ends `seconds` after it was granted or last renewed, or a bit later.

        Raises Unavailable and Refused.
        """

    async def renew(self, lease: int) -> None:
        """Count its seconds anew.  Raises LeaseLost, Unavailable and Refused."""

    async def revoke(self, lease: int) -> None:
        """End a lease now, and delete what is tied to it.  A lease that has ended does no harm."""

    async def read(self) -> Batch:
        """All there is, as it is now: a batch that is whole.  Raises Unavailable and Refused."""

    def follow(self, receive: Callable[[Batch], None]) -> Follow:
        """Call `receive` with all there is, and then with every change, in order, none left out.

        After a failure it goes on by itself: with what was missed, or with all there is again
        where that is known no more.  `receive` must not raise.
        """

    async def close(self) -> None:
        """Give up connections and files; what is under way fails with Unavailable."""


class Follow(Protocol):
    """The following of a registry."""

    @property
    def failure(self) -> RegistryError | None:
        """Why there is no news at present; None while the registry answers."""

    def stop(self) -> None:
        """Call `receive` no more."""


TIMEOUT = 5.0
"""Seconds after which a call that was not answered fails with Unavailable."""
