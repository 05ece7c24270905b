"""The world around the processes: time, the registry, and messages that go astray on their way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import attrs

from homing.shared.farm_state.codec import encode
from homing.shared.farm_state.values import FarmValue
from homing.shared.farm_state.view import Known
from homing.shared.id_sets import IdSet
from homing.shared.moves import Way
from homing.shared.registry.interface import Item, LeaseLost, Transaction
from homing.shared.registry.memory import MemoryRegistry
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.arena import ARENA_PREFIX
from homing.shared.schemes.base import Scheme
from homing.shared.schemes.division import Division

LIFETIME = 24
"""Seconds that sessions live."""
ASSIGNMENT = 12.0
PRESENCE = 6.0
"""Seconds that leases last."""
LATEST = 6.0
"""Seconds that a request is under way, at most: it may come after its sender gave up."""
TIMEOUT = 2.0
"""Seconds after which it does."""
LAG = 4.0
"""Seconds that news is under way, at most; together less than an assignment lasts."""
BITS = 4
_PREFIX = b"HOME"
LIST_SIZE = 3
"""Identifiers that are drawn from a part of a list, at most, so that they meet."""
_DIVISION = Division(ARENA_PREFIX, BITS)


@cache
def _set(scheme: Scheme, part: int) -> IdSet:
    assert scheme.cut is not None
    return scheme.cut(_DIVISION, part)


@cache
def identifier(scheme: Scheme, part: int, index: int) -> bytes:
    """An identifier of a part."""
    return _set(scheme, part).nth(index)


@cache
def part_of(scheme: Scheme, one: bytes) -> int | None:
    """The part that an identifier is of."""
    assert scheme.locate is not None
    return scheme.locate(_DIVISION)(one)


class Violation(AssertionError):
    """An invariant does not hold."""


@attrs.define(eq=False)
class Request:
    """A transaction that was sent; what became of it is known when its answer has come."""

    transaction: Transaction
    sent: float
    arrives: list[float]
    """Twice, where it is repeated on its way; never, where it is lost."""
    answer_takes: float | None
    """None: the answer is lost."""
    answered: float | None = None
    happened: bool = False


class World:
    """What is the same for all processes."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.seed = seed
        self.now = 0.0
        self.unix_jump = 0.0
        self.faulty = True
        """Whether messages go astray."""
        self.slow = random.choice((0.05, 0.3, 0.6))
        """How likely a message is late."""
        self.registry = MemoryRegistry(lambda: self.now)
        self.scheme = SCHEMES[random.choice(("range", "bits", "list", "list"))]
        self.decoded: dict[tuple[str, int], Known[Any] | None] = {}
        self.saw: Callable[[str, bytes], None] = lambda key, value: None
        """Called with what transactions put."""
        self.log: list[str] = []
        self.under_way: list[Request] = []
        self.holders: dict[bytes, object] = {}
        """By identifier, the process that gave it out last."""
        farm = FarmValue(
            self.scheme.name,
            ARENA_PREFIX.hex(),
            BITS,
            random.choice((0.0, 0.2, 0.4)),
            random.choice(list(Way)),
            LIFETIME,
        )
        self.put("farm", farm)

    @property
    def unix(self) -> float:
        """What people's clocks say."""
        return self.now + 1_700_000_000 + self.unix_jump

    @property
    def has_few(self) -> bool:
        """Whether parts are so small that servers draw from all that they have."""
        return self.scheme.name == "list"

    def note(self, line: str) -> None:
        """Keep a line for whoever looks into a run."""
        self.log.append(f"{self.now:8.2f} {line}")

    def fail(self, line: str) -> None:
        """Something is wrong: say so, with the last events."""
        self.note(line)
        last = "\n".join(self.log[-60:])
        raise Violation(f"seed {self.seed}: {line}\n{last}")

    def put(self, key: str, value: object | None, lease: int = 0) -> int | None:
        """What people do: change a key at once, whatever it was."""
        self.registry.expire()
        item = self.registry.items.get(key)
        expected = {key: item.revision if item else 0}
        puts = {} if value is None else {key: encode(value)}
        deletes = frozenset([key]) if value is None else frozenset[str]()
        self.note(f"put {key} {value}")
        return self.registry.commit(Transaction(expected, puts, deletes, lease))

    def item(self, key: str) -> Item | None:
        """What the registry has now."""
        self.registry.expire()
        return self.registry.items.get(key)

    def chance(self, likelihood: float) -> bool:
        """Whether a fault happens that is so likely; none does once faults have stopped."""
        return self.faulty and self.random.random() < likelihood

    def delay(self, most: float = LATEST) -> float:
        """How long a message takes."""
        if not self.chance(self.slow):
            return 0.0
        return self.random.uniform(0.0, self.random.choice((0.5, most / 3, most)))

    def send(self, transaction: Transaction, reachable: bool) -> Request:
        """Send a transaction to the registry."""
        arrives = [self.now + self.delay() for _ in range(1 + self.chance(0.05))]
        if not reachable or self.chance(0.04):
            arrives = []
        takes = None if self.chance(0.06) else self.delay()
        request = Request(transaction, self.now, arrives, takes)
        self.under_way.append(request)
        self.deliver()
        return request

    def deliver(self) -> None:
        """Let happen what has arrived."""
        for request in tuple(self.under_way):
            while request.arrives and min(request.arrives) <= self.now:
                request.arrives.remove(min(request.arrives))
                self._commit(request)
            if not request.arrives:
                self.under_way.remove(request)

    def _commit(self, request: Request) -> None:
        try:
            happened = self.registry.commit(request.transaction) is not None
        except LeaseLost:
            happened = False
        if request.answered is None and request.answer_takes is not None:
            request.answered = self.now + request.answer_takes
            request.happened = happened
        for key, value in request.transaction.puts.items() if happened else ():
            self.saw(key, value)
        changed = sorted(request.transaction.puts.keys() | request.transaction.deletes)
        self.note(f"{'committed' if happened else 'lost'}: {changed[:9]}")

    def timed_out(self, request: Request) -> bool:
        """Whether its sender waits for its answer no more."""
        return self.now - request.sent > TIMEOUT
