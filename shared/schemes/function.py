"""``function``: the user's own, identifier in, server name or None out (patent, p. 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shared.errors import NoFreeIdentifier
from shared.id_sets import Randbelow, Taken
from shared.identifiers import KEY_NAME_LENGTH, padded
from shared.schemes.base import try_until

_TRIES = 20_000

UserFunction = Callable[[bytes], str | None]


class FunctionScheme:
    """`function` is given 16 bytes.

    What it does wrong (it raises, or names no server of `servers`) goes to `report`, in words; the
    identifier then has no owner.
    """

    name = "function"

    def __init__(
        self, function: UserFunction, servers: Iterable[str], report: Callable[[str], None]
    ) -> None:
        self._function = function
        self._servers = frozenset(servers)
        self._report = report

    def owner(self, identifier: bytes) -> str | None:
        try:
            owner = self._function(padded(identifier)[:KEY_NAME_LENGTH])
        except Exception as error:  # whatever a user's code may raise
            self._report(f"raised {type(error).__name__}: {error}")
            return None
        if owner is not None and not (isinstance(owner, str) and owner in self._servers):
            self._report(f"returned {owner!r}, which is no server")
            return None
        return owner

    def draw(self, server: str, randbelow: Randbelow, taken: Taken, length: int) -> bytes:
        try:
            return try_until(self, server, randbelow, taken, length, _TRIES)
        except NoFreeIdentifier:
            raise NoFreeIdentifier(
                f"session_ids.function names {server} for none of {_TRIES} random identifiers"
            ) from None
