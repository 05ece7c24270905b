"""What was measured, and on what: a figure without versions and date is worth little."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import date
from importlib.metadata import version

from OpenSSL.SSL import OPENSSL_VERSION, OpenSSL_version

SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
"""Where Debian has its daemons, which is on nobody's PATH but root's."""


def program(name: str) -> str:
    """Where a peer's program is.  Ends the benchmark with what to install if it is nowhere."""
    found = shutil.which(name, path=SBIN)
    if found is None:
        raise SystemExit(f"{name} is needed and not there; on Debian: apt install {name}")
    return found


def versions() -> dict[str, str]:
    """Of everything that takes part; without the peers that are not installed."""
    packages = {name: version(name) for name in ("Twisted", "pyOpenSSL")}
    peers = {name: _version_of(name) for name in ("haproxy", "nginx")}
    return {
        "Python": platform.python_version(),
        **packages,
        "OpenSSL": OpenSSL_version(OPENSSL_VERSION).decode().split()[1],
        **{name: found for name, found in peers.items() if found},
        "Linux": platform.release(),
        "cores": str(len(os.sched_getaffinity(0))),
    }


def heading() -> str:
    """One line with the date and all versions."""
    return f"{date.today()}: " + ", ".join(f"{name} {what}" for name, what in versions().items())


def _version_of(peer: str) -> str | None:
    path = shutil.which(peer, path=SBIN)
    if path is None:
        return None
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return found.group() if found else None
