"""What a farm says when it is ready: farm.json for programs, what to try next for people.

farm.json is removed as soon as it would be untrue.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from homing.server.files import replace
from homing.shared.addresses import split_host_and_port

RETRY = 2.0
"""Seconds until a failed write is tried again."""

_THIS_MACHINE = frozenset(("0.0.0.0", "::", "127.0.0.1", "::1"))  # noqa: S104


class Announcement:
    """Writes the file at `path`; readers see the old content or the new, never a part.

    When a write fails, on a full disk for instance, the old file is removed, and the write is tried
    again.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._retry: IDelayedCall | None = None
        self._failing = False

    def write(self, facts: dict[str, Any]) -> None:
        """Write `facts` to the file, now or as soon as that is possible."""
        self.outdated()
        try:
            replace(self.path, f"{json.dumps(facts, indent=1)}\n".encode())
        except OSError as error:
            self._unlink()
            self._retry = self._reactor.callLater(RETRY, self.write, facts)
            if not self._failing:
                self._log.error(
                    "{path} cannot be written: {error}; it is removed, and tried again every "
                    "{again:g} s",
                    path=str(self.path),
                    error=error.strerror,
                    again=RETRY,
                )
            self._failing = True
        else:
            if self._failing:
                self._log.info("{path} is written again", path=str(self.path))
            self._failing = False

    def remove(self) -> None:
        """Remove the file, and write nothing any more."""
        self.outdated()
        self._unlink()

    def outdated(self) -> None:
        """Do not retry a write that failed: its facts are out of date."""
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._retry = None

    def _unlink(self) -> None:
        with suppress(OSError):  # a read-only disk
            self.path.unlink(missing_ok=True)


def address(listen: str) -> str:
    """HOST:PORT to connect to from this machine: the demo certificate holds for localhost."""
    host, port = split_host_and_port(listen)
    return f"localhost:{port}" if host in _THIS_MACHINE else listen


def next_steps(listen: str, ca: Path | None, demo: bool) -> Iterator[str]:
    """What people can try: commands, and an address for a browser.

    `listen` is the balancer's HOST:PORT.  `ca` is the demo CA's certificate, None when it is not in
    use.  `demo` says whether the servers run the demo application.
    """
    where = address(listen)
    trusting = shlex.quote(shown(ca)) if ca else None
    if demo:
        curl = "curl" + (f" --cacert {trusting}" if trusting else "")
        yield f"{curl} -H 'Connection: close' 'https://{where}/session?[1-3]'"
    yield f"homing bench hit-rate --connect {where}" + (f" --ca {trusting}" if trusting else "")
    trust = f" in a browser that trusts {trusting}" if trusting else " in a browser"
    yield f"https://{where}/{trust}"


def shown(path: Path) -> str:
    """`path`, relative to the current folder where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
