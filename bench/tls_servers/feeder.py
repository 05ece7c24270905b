"""Hands each connection to one server, as a balancer would, and knows nothing else.

    python bench/tls_servers/feeder.py PORT SOCKET

What it costs is no part of the server's cost.
"""

from __future__ import annotations

import socket
import sys
from array import array
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from homing.shared.handoff import CONNECTION

_HELLO_WITHIN = 5
"""Seconds; connections are accepted when their hello is there, as in Homing's balancer."""
_READ = 65536


def main() -> None:
    """Feed until killed."""
    port, path = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as link, socket.socket() as listening:
        link.connect(path)
        link.recv(_READ)  # the greeting
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _HELLO_WITHIN)
        listening.bind(("127.0.0.1", int(port)))
        listening.listen(4096)
        while True:
            with listening.accept()[0] as connection:
                rights = array("i", [connection.fileno()]).tobytes()
                link.sendmsg([CONNECTION], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            with suppress(BlockingIOError):
                link.recv(_READ, socket.MSG_DONTWAIT)  # so that the answers have room


if __name__ == "__main__":
    main()
