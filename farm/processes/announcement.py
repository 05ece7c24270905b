"""What a farm that is ready says: farm.json for machines, what to try next for people.

What farm.json says is true, or it is not there.
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

AGAIN = 2.0
"""Seconds until what could not be written is tried again."""

_HERE = frozenset(("0.0.0.0", "::", "127.0.0.1", "::1"))  # noqa: S104


class Announcement:
    """The file at `path`, replaced in one step: whoever reads it sees all of it.

    Where it cannot be, on a full disk say, the one before is removed, and it is tried again.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._again: IDelayedCall | None = None
        self._fails = False

    def write(self, facts: dict[str, Any]) -> None:
        """Have the file say `facts`, as soon as it can be written."""
        self.outdated()
        try:
            replace(self.path, f"{json.dumps(facts, indent=1)}\n".encode())
        except OSError as error:
            self._unlink()
            self._again = self._reactor.callLater(AGAIN, self.write, facts)
            if not self._fails:
                self._log.error(
                    "{path} cannot be written: {error}; it is removed, and tried again every "
                    "{again:g} s",
                    path=str(self.path),
                    error=error.strerror,
                    again=AGAIN,
                )
            self._fails = True
        else:
            if self._fails:
                self._log.info("{path} is written again", path=str(self.path))
            self._fails = False

    def remove(self) -> None:
        """There is nothing to say any more."""
        self.outdated()
        self._unlink()

    def outdated(self) -> None:
        """What could not be written so far is not true any more."""
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def _unlink(self) -> None:
        with suppress(OSError):  # on a disk that takes nothing any more, not even this
            self.path.unlink(missing_ok=True)


def address(listen: str) -> str:
    """HOST:PORT to connect to from this machine; the demo certificate holds for the host."""
    host, port = split_host_and_port(listen)
    return f"localhost:{port}" if host in _HERE else listen


def next_steps(listen: str, ca: Path | None, demo: bool) -> Iterator[str]:
    """Lines for people.

    `listen` is the balancer's HOST:PORT, `ca` the demo CA's certificate if it is in use; `demo`
    whether the servers run the demo application.
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
    """`path`, from here where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
