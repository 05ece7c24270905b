"""Run by the system's own Python: does the hook work with its OpenSSL?  See test_system_python.

Usage: hook_on_system_python.py CERTIFICATE KEY
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(certificate: Path, key: Path) -> None:
    """Prove the hook with these files and say how it was found."""
    from homing.server.identifiers.issuer import Issuer
    from homing.server.openssl.functions import openssl
    from homing.server.tls.context import TLSOptions, server_context
    from homing.server.tls.self_test import run_self_test
    from homing.shared.id_sets import IdRange
    from homing.shared.record import Record

    for record in (Record((IdRange.of_prefix(b"HOME"),)), Record()):
        for resumption in ("ids", "tickets", "both"):
            options = TLSOptions(
                certificate=certificate,
                key=key,
                session_lifetime=7200,
                session_cache=100,
                resumption=resumption,
                ticket_secret_lifetime=43_200,
                renew_tickets=True,
                renegotiation=False,
            )
            run_self_test(server_context(options, Issuer(record, session_lifetime=7200)))
    print(openssl().linkage)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
