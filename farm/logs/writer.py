"""Writes a log in a thread, so that a slow reader of the log stops nothing else."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from twisted.application.internet import backoffPolicy

MOST_LINES = 8192
"""Lines that may wait to be written; more are dropped, and counted."""
MOST_BYTES = 1 << 20
"""Bytes that may wait to be written; lines beyond are dropped, and counted."""

GATHERING = 0.01
"""Seconds from one write to the next.  A thread that is woken for every line takes the interpreter
from the one that logs, which costs several times what the line does."""

_pause = backoffPolicy(initialDelay=0.5, maxDelay=10.0, factor=2.0, jitter=lambda: 0.0)


class LogWriter:
    """Writes lines to a blocking descriptor: a terminal, a pipe, a file.

    `dropped` makes a line from the number of dropped lines; it is written once writing works again.
    `failed` is called, in the thread, when writing begins to fail.  The descriptor stays blocking:
    a terminal shares that flag with the user's shell.
    """

    def __init__(
        self,
        descriptor: int,
        dropped: Callable[[int], str],
        failed: Callable[[OSError], None] = lambda error: None,
        *,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._descriptor = descriptor
        self._say_dropped = dropped
        self._say_failed = failed
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._changed = threading.Condition()  # re-entrant: signal handlers log, too
        self._lines: list[bytes] = []
        self._length = 0
        self._dropped = 0
        self._writing = False
        self._failures = 0
        self._torn = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread.  Call it after the last fork."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def write(self, line: str) -> None:
        """Queue `line`, which ends with a newline.  Any thread may call it; it never blocks."""
        data = line.encode(errors="backslashreplace")
        with self._changed:
            if len(self._lines) >= self._most_lines or self._length + len(data) > self._most_bytes:
                self._dropped += 1
                return
            self._lines.append(data)
            self._length += len(data)
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until all is written; return at once while writing fails."""
        self.start()
        with self._changed:
            self._changed.wait_for(self._is_idle, seconds)

    def _is_idle(self) -> bool:
        return bool(self._failures) or not (self._lines or self._dropped or self._writing)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._dropped)
                lines, self._lines, self._length = self._lines, [], 0
                dropped, self._dropped = self._dropped, 0
                self._writing = True
            error = self._try_to_write(lines, dropped)
            with self._changed:
                self._writing = False
                self._failures = self._failures + 1 if error else 0
                if error:
                    self._dropped += len(lines) + dropped
                self._changed.notify_all()
            if error:
                self._wait_after(error)
            else:
                time.sleep(GATHERING)

    def _wait_after(self, error: OSError) -> None:
        if self._failures == 1:
            self._say_failed(error)
        time.sleep(_pause(self._failures - 1))

    def _try_to_write(self, lines: list[bytes], dropped: int) -> OSError | None:
        data = b"".join(lines)
        if dropped:
            data += self._say_dropped(dropped).encode(errors="backslashreplace")
        rest = memoryview(b"\n" + data if self._torn else data)
        try:
            while rest:
                written = self._write_some(rest)
                if written:
                    self._torn = rest[written - 1] != ord("\n")
                rest = rest[written:]
        except OSError as error:  # the reader is gone, or the disk is full
            return error
        return None

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # a process that shares the terminal or pipe set it non-blocking
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(1000)
            return 0
