"""A server in a process with few descriptors; see test_receiver.

Usage: few_descriptors.py SOCKET CERTIFICATE KEY LIMIT
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.logger import globalLogPublisher, textFileLogObserver

from homing.server.apps.demo import site
from homing.server.service import TLSServer, UnixAddress
from tests.tls import RECORD, options


def main(path: str, certificate: str, key: str, limit: str) -> None:
    """Serve until killed; the log goes to standard error."""
    globalLogPublisher.addObserver(textFileLogObserver(sys.stderr))
    running: Any = reactor
    server = TLSServer(
        running,
        "few",
        UnixAddress(Path(path)),
        record=RECORD,
        options=options(certificate=Path(certificate), key=Path(key), resumption="both"),
        application=site("few"),
    )
    server.startService()
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    running.callWhenRunning(print, "ready", flush=True)
    running.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
