"""Session IDs given out, on disk, where there are few: a restart must not give them out again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from homing.server.files import append, read, replace
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError
from homing.shared.identifiers import LENGTH

_ENTRY = struct.Struct(f"!{LENGTH}sd")
"""An ID, and until when it rests in seconds since 1970; 0 takes it back."""
_FEW = 10_000


class Journal:
    """A file of what one server has given out, an entry after the other.

    It survives the end of the process; a file that is lost or damaged costs what there would be
    without it.  `report` is told, in words, when it cannot be read or written.
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
        """For how many seconds each ID must still rest, the one given out first before the others.

        Shortens the file to just these.
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
        """`identifier` has been given out, and rests for so long; for 0, it was not."""
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
