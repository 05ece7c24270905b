"""Session IDs given out, on disk, where there are few: a restart must not give them out again."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

from server.files import replace
from shared.identifiers import LENGTH

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
        self._try(lambda: self._write(packed))
        self._entries = len(ends)
        self._most = 2 * max(self._entries, _FEW)
        return {identifier: end - now for identifier, end in ends.items()}

    def note(self, identifier: bytes, seconds: float) -> None:
        """`identifier` has been given out, and rests for so long; for 0, it was not."""
        if self._entries >= self._most:
            self.read()
        self._entries += 1
        entry = _ENTRY.pack(identifier, self._clock() + seconds if seconds else 0.0)
        self._try(lambda: _append(self._path, entry))

    def _whole_entries(self) -> bytes | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            self._report(f"{self._path} cannot be read ({error}); clients of before may fail once")
            return None
        return data[: len(data) - len(data) % _ENTRY.size]

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self._path, data)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self._fails:
                self._report(f"{self._path} cannot be written: {error}")
            self._fails = True
        else:
            self._fails = False


def _append(path: Path, entry: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        if part := file.tell() % len(entry):  # of an entry for which the disk was too full
            file.truncate(file.tell() - part)
        if file.write(entry) != len(entry):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
