"""Nonces for the scheme ``keyed`` that never come twice, also after a restart.

A nonce is a counter of 6 bytes and 4 bytes that are random at every start.  The counter goes on
from a file, where it is reserved in steps, and is never behind the clock: so neither a file put
back from a backup nor a clock put back repeats a nonce, and both together with probability 2^-32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from homing.server.files import read, replace
from homing.shared.errors import HomingError

COUNTER_LENGTH = 6
_RANDOM_LENGTH = 4
_MOST_DIGITS = 15
_NEAR_THE_END = 1 << 40
_STEP = 1 << 16
_A_SECOND = 64_000
"""Counts by which the clock is ahead: 2^48 of them last for 139 years."""


class Nonces:
    """Gives nonces of 10 bytes; `path` belongs to one server and one key.

    `report` is told, in words, when the file is of no use.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        randbytes: Callable[[int], bytes],
        report: Callable[[str], None],
    ) -> None:
        self._path = path
        self._clock = clock
        self._report = report
        self._random = randbytes(_RANDOM_LENGTH)
        self._next = max(self._read(), int(clock() * _A_SECOND))
        self._reserved = self._next

    def __call__(self) -> bytes:
        """The next nonce.  Raises HomingError when no more can be reserved."""
        if self._next >= self._reserved:
            self._reserve()
        nonce = self._next
        self._next += 1
        return nonce.to_bytes(COUNTER_LENGTH, "big") + self._random

    def _read(self) -> int:
        try:
            text = read(self._path).decode("ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, HomingError, UnicodeDecodeError) as error:
            self._report(f"{self._path} cannot be read ({error}); its counter goes by the clock")
            return 0
        last = (1 << 8 * COUNTER_LENGTH) - _NEAR_THE_END
        if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) > last:
            self._report(f"{self._path} holds no counter; it goes by the clock")
            return 0
        return int(text)

    def _reserve(self) -> None:
        """Note on disk, before any is used, that the next step of counts is used."""
        reserved = self._next + _STEP
        try:
            replace(self._path, b"%d\n" % reserved)
        except OSError as error:
            raise HomingError(f"no nonces can be reserved in {self._path}: {error}") from error
        self._reserved = reserved
