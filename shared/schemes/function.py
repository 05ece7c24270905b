"""``function``: the user's own, identifier in, server name or None out (patent, p. 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from homing.shared.errors import NoFreeIdentifier
from homing.shared.id_sets import Randbelow, Taken
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.schemes.base import random_bytes

_TRIES = 20_000
_MOST_FAULTS = 100
_PATIENCE = 0.5
"""Seconds for drawing one identifier: other connections wait meanwhile."""

REST = 5.0
"""Seconds for which a function that took too long is not asked where identifiers belong: a client
chooses what it is asked for, and everybody waits for the answer."""

UserFunction = Callable[[bytes], str | None]


class FunctionScheme:
    """`function` is given 16 bytes.

    It is drawn from by trying random identifiers.  One that names a server too rarely for that can
    have a method `draw`, too: server name in, 16 bytes out that it then names this server for.

    What it does wrong (it raises, or names no server of `servers`) goes to `report`, in words; the
    identifier then has no owner.  After a TimeoutError none has for `REST` seconds.  `clock` tells
    seconds.
    """

    name = "function"

    def __init__(
        self,
        function: UserFunction,
        servers: Iterable[str],
        report: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._function = function
        self._servers = frozenset(servers)
        self._report = report
        self._clock = clock
        self._faults = 0
        self._rests_until = -inf

    def owner(self, identifier: bytes) -> str | None:
        return None if self._clock() < self._rests_until else self._named(identifier)

    def _named(self, identifier: bytes) -> str | None:
        try:
            owner = self._function(padded(identifier)[:KEY_NAME_LENGTH])
        except TimeoutError as error:
            self._rests_until = self._clock() + REST
            self._is_wrong(f"raised {in_words(error)}: it is not asked for {REST:g} s")
            return None
        except BaseException as error:  # sys.exit() too
            self._is_wrong(f"raised {in_words(error)}")
            return None
        if owner is not None and not (isinstance(owner, str) and owner in self._servers):
            self._is_wrong(f"returned {_shown(owner)}, which is no server")
            return None
        return owner

    def _is_wrong(self, words: str) -> None:
        self._faults += 1
        self._report(words)

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        offer = getattr(self._function, "draw", None)
        deadline, faults = self._clock() + _PATIENCE, self._faults
        for _ in range(_TRIES):
            if self._clock() > deadline or self._faults > faults + _MOST_FAULTS:
                break
            start = random_bytes(randbelow, KEY_NAME_LENGTH)
            if offer is not None:
                start = _offered(offer, server)
            identifier = start + random_bytes(randbelow, length - KEY_NAME_LENGTH)
            if self._named(identifier) == server and not taken(identifier):
                return identifier
        where = "what its draw returns" if offer is not None else "random identifiers"
        raise NoFreeIdentifier(
            f"session_ids.function does not name {server} for any of {where}, as far as tried: "
            f"{_TRIES} times or {_PATIENCE:g} s"
        )


def _offered(offer: Callable[[str], object], server: str) -> bytes:
    try:
        offered = offer(server)
    except BaseException as error:  # sys.exit() too
        raise NoFreeIdentifier(f"session_ids.function: draw raised {in_words(error)}") from None
    if not isinstance(offered, bytes) or len(offered) != KEY_NAME_LENGTH:
        raise NoFreeIdentifier(
            f"session_ids.function: draw returned {_shown(offered)}, not {KEY_NAME_LENGTH} bytes"
        )
    return offered


def in_words(error: BaseException) -> str:
    """An exception, of a class that need not know how to tell itself."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"a {type(value).__name__}"
