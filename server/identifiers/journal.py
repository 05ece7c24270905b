"""A file of the session IDs given out: if IDs are few, a restart must not give them out again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from homing.server.files import append, read, replace
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError
from homing.shared.identifiers import LENGTH

_ENTRY = struct.Struct(f"!{LENGTH}sd")
"""An ID, and when its rest ends in seconds since 1970; 0 says that no client got it."""
_FEW = 10_000


class Journal:
    """The file `path`, to which one server appends an entry for every ID.

    A lost or damaged file costs no more than having none.  `report` is called with a message when
    the file cannot be read or written.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], report: Callable[[str], None]
    ) -> None:
        self._path = path
        self._clock = clock
        self._report = report
        self._fails = False
        self._entries = 0
        self._most = _FEW

    def read(self) -> dict[bytes, float]:
        """The seconds that each ID must still rest; the one given out first comes first.

        Shortens the file to these.
        """
        now = self._clock()
        self._entries = 0
        entries = self._whole_entries()
        if entries is None:
            return {}
        ends: dict[bytes, float] = {}
        for identifier, end in _ENTRY.iter_unpack(entries):
            ends.pop(identifier, None)
            if end > now:
                ends[identifier] = end
        packed = b"".join(_ENTRY.pack(*each) for each in ends.items())
        self._try(lambda: replace(self._path, packed))
        self._entries = len(ends)
        self._most = 2 * max(self._entries, _FEW)
        return {identifier: end - now for identifier, end in ends.items()}

    def note(self, identifier: bytes, seconds: float) -> None:
        """Note that `identifier` was given out and rests for `seconds`; 0: no client got it."""
        if self._entries >= self._most:
            self.read()
        self._entries += 1
        entry = _ENTRY.pack(identifier, self._clock() + seconds if seconds else 0.0)
        self._try(lambda: append(self._path, entry))

    def _whole_entries(self) -> bytes | None:
        try:
            owned_folder(self._path.parent)
            data = read(self._path)
        except FileNotFoundError:
            return b""
        except (OSError, HomingError) as error:
            self._report(f"{self._path} cannot be read ({error}); clients of before may fail once")
            return None
        return data[: len(data) - len(data) % _ENTRY.size]

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, HomingError) as error:
            if not self._fails:
                self._report(f"{self._path} cannot be written: {error}")
            self._fails = True
        else:
            self._fails = False
