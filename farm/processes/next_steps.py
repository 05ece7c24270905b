"""What to try with a farm that is ready."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

_HERE = frozenset(("0.0.0.0", "::", "127.0.0.1", "::1"))  # noqa: S104


def address(listen: str) -> str:
    """HOST:PORT to connect to from this machine; the demo certificate holds for the host."""
    host, _, port = listen.rpartition(":")
    return f"localhost:{port}" if host.strip("[]") in _HERE else listen


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
