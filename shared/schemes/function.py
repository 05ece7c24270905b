"""``function``: the user's own, identifier in, owner's name or None out (patent, p. 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from homing.shared.by_function import fingerprint
from homing.shared.errors import HomingError, NoFreeIdentifier
from homing.shared.identifiers import KEY_NAME_LENGTH, padded
from homing.shared.named import named
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes.base import AllocationError, Request, Scheme

_TRIALS = 32


class UserFunction:
    """Calls `function` with the first 16 bytes of an identifier.

    A server draws by trying random identifiers.  A function that names an owner too rarely for that
    can have a method `draw`: it takes an owner's name and returns 16 bytes of that owner.

    When `function` raises or returns what is not in `owners`, the identifier has no owner, and
    `report` is told why.
    """

    tries = 4000

    def __init__(
        self,
        function: Callable[[bytes], object],
        owners: Iterable[str],
        report: Callable[[str], None],
    ) -> None:
        self._function = function
        self._offer: Callable[[str], object] | None = getattr(function, "draw", None)
        self._owners = frozenset(owners)
        self._report = report

    def owner(self, identifier: bytes) -> str | None:
        try:
            owner = self._function(padded(identifier)[:KEY_NAME_LENGTH])
        except BaseException as error:  # sys.exit() too: it would stop the balancer's listening
            self._report(f"raised {type(error).__name__}: {error}")
            return None
        if owner is None or (isinstance(owner, str) and owner in self._owners):
            return owner
        self._report(f"returned {owner!r}, which is no server")
        return None

    def make(self, owner: str, randbelow: Randbelow) -> bytes | None:
        start = (
            random_bytes(randbelow, KEY_NAME_LENGTH)
            if self._offer is None
            else _offered(self._offer, owner)
        )
        return start if self.owner(start) == owner else None

    def count(self, length: int) -> int:
        """Nobody knows; assumed is that it divides all identifiers evenly."""
        return (1 << 8 * length) // len(self._owners)

    def fingerprints(self, owner: str) -> Sequence[bytes]:
        """Of the owners' names, and of what the function says of a few identifiers."""
        said = (self.owner(bytes([number]) * KEY_NAME_LENGTH) for number in range(_TRIALS))
        names = *sorted(self._owners), *(one or "" for one in said)
        return (fingerprint(*(name.encode() for name in names)),)


def _offered(offer: Callable[[str], object], owner: str) -> bytes:
    try:
        offered = offer(owner)
    except BaseException as error:
        words = f"session_ids.function: draw raised {type(error).__name__}: {error}"
        raise NoFreeIdentifier(words) from error
    if not isinstance(offered, bytes) or len(offered) != KEY_NAME_LENGTH:
        raise NoFreeIdentifier(
            f"session_ids.function: draw returned {offered!r}, not {KEY_NAME_LENGTH} bytes"
        )
    return offered


def _assign(request: Request) -> dict[str, Part]:
    name = str(request.settings.function)

    def report(words: str) -> None:
        request.report(f"session_ids.function {name} {words}")

    try:
        found = named(name, "package.module:callable")
        if not callable(found):
            raise HomingError(f"{name!r} cannot be called")
    except HomingError as error:
        raise AllocationError(f"session_ids.function: {error}") from error
    function = UserFunction(found, request.owners, report)
    for number in range(_TRIALS):  # so that what is wrong is said at the start
        function.owner(bytes([number]) * KEY_NAME_LENGTH)
    return request.by_function("function", function)


FUNCTION = Scheme(
    name="function",
    assign=_assign,
    own_key="function",
    demo='function = "homing.shared.schemes.example_function:by_third_byte"\n',
)
