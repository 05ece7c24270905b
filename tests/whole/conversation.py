"""A process to talk to by its standard input and output, with a deadline for every answer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from select import select

import attrs

_PATIENCE = 30.0


@attrs.frozen
class Conversation:
    """What is said to a process, and what is heard from it."""

    process: subprocess.Popen[bytes]
    _heard: bytearray = attrs.field(factory=bytearray, init=False)

    def say(self, words: bytes) -> None:
        """Write `words` to its standard input."""
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), words)

    def hear(self, *marks: bytes) -> bytes:
        """What it says until all of `marks` have come, one after the other."""
        deadline = time.monotonic() + _PATIENCE
        end = 0
        for mark in marks:
            while (found := self._heard.find(mark, end)) < 0:
                self._hear_more(mark, deadline)
            end = found + len(mark)
        said = bytes(self._heard[:end])
        del self._heard[:end]
        return said

    def _hear_more(self, mark: bytes, deadline: float) -> None:
        assert self.process.stdout is not None
        out = self.process.stdout.fileno()
        ready, _, _ = select([out], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(out, 65536) if ready else b""
        why = f"{'ended' if ready else 'was silent'} before {mark!r}"
        assert more, f"{self.process.args!r} {why}: {bytes(self._heard[-1000:])!r}"
        self._heard.extend(more)

    def hear_out(self) -> None:
        """Wait until the process has ended."""
        self.process.wait(_PATIENCE)


@contextmanager
def conversation(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[Conversation]:
    """A conversation with a process, which ends with the block, and all that it has started."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            yield Conversation(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
