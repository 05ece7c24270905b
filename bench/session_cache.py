"""What a full TLS 1.2 handshake costs a server that has many sessions cached already.

    python bench/session_cache.py [--json FILE]

Prints the CPU time of the server's side, the lowest and the median of several handshakes, in
microseconds.  It must not grow with the number of sessions.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from OpenSSL import SSL

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homing.server.tls.context import server_context
from tests.tls import InMemory, issuer, options

SESSIONS = (400, 16_000)
"""So many are cached while handshakes are measured."""

HANDSHAKES = 200


def handshake(context: SSL.Context) -> float:
    """Shake hands with a client that has no session; the seconds of CPU that the server took."""
    pair = InMemory(context, SSL.TLS1_2_VERSION)
    seconds = 0.0
    for _ in range(3):
        with suppress(SSL.WantReadError):
            pair.client.do_handshake()
        pair.carry(pair.client, pair.server)
        begun = time.process_time()
        with suppress(SSL.WantReadError):
            pair.server.do_handshake()
        seconds += time.process_time() - begun
        pair.carry(pair.server, pair.client)
    pair.resumable()  # else OpenSSL's own cache, if it is in use, drops the session
    return seconds


def main() -> None:
    """Fill the cache, measure, print and perhaps write the results down."""
    parser = argparse.ArgumentParser(description="What a handshake costs with sessions cached.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    arguments = parser.parse_args()
    sessions = server_context(options(), issuer())  # the scheme `range`: all begin with HOME
    cached, results = 0, []
    print(f"{'sessions cached':<20}{'min us':>9}{'median us':>12}")
    for many in SESSIONS:
        while cached < many:
            handshake(sessions.ssl_context)
            cached += 1
        costs = [1e6 * handshake(sessions.ssl_context) for _ in range(HANDSHAKES)]
        cached += HANDSHAKES
        results.append({"sessions": many, "lowest": min(costs), "middle": median(costs)})
        print(f"{many:<20,}{min(costs):>9.0f}{median(costs):>12.0f}")
    if arguments.json:
        data = {"python": platform.python_version(), "machine": platform.machine()}
        arguments.json.write_text(json.dumps({**data, "microseconds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
