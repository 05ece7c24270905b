"""A balancer in a process with few descriptors.

Usage: few_descriptors.py SERVER HOST LIMIT, where SERVER is a UNIX socket, HOST:PORT or
HOST:PORT+proxy.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from homing.balancer.service import Balancer
from homing.balancer.table import Table
from tests.balancer.running import OPTIONS, way_to
from tests.reactor import HOST

LIMIT = 60


@contextmanager
def few_descriptors(
    way: str, log: Path, greet: Callable[[], object] = lambda: None, limit: int = LIMIT
) -> Iterator[tuple[str, int]]:
    """Where such a balancer listens, which writes to `log`."""
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, __file__, way, HOST, str(limit)],
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    assert process.stdout is not None
    try:
        greet()
        yield HOST, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main(server: str, host: str, limit: str) -> None:
    """Balance until killed; the first line of output is the port, and the log is its errors."""
    running: Any = reactor
    options = attrs.evolve(OPTIONS, listen=[f"tcp:0:interface={host}"], hello_timeout=30)
    place, _, port = server.rpartition(":")
    number, plus, _ = port.partition("+")
    way = way_to(place, int(number), proxy_protocol=bool(plus)) if place else server
    balancer = Balancer(running, options, Table(), {"s1": way})
    balancer.startService()

    @implementer(ILogObserver)
    def tell(event: LogEvent) -> None:
        if "state" in event:
            print(formatEvent(event), flush=True)
        elif event["log_namespace"].startswith("homing.balancer"):
            print(formatEvent(event), file=sys.stderr, flush=True)

    def ready(result: object) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
        globalLogPublisher.addObserver(tell)
        print(balancer.ingresses.addresses[0].rpartition(":")[2], flush=True)

    balancer.when_up(["s1"]).addCallback(ready)
    running.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
