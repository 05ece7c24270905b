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
    from homing.server.tls.self_test import prove
    from homing.shared.id_sets import IdRange
    from homing.shared.record import Record

    for record in (Record((IdRange.of_prefix(b"HOME"),)), Record()):
        for resumption in ("ids", "tickets", "both"):
            options = TLSOptions(certificate, key, resumption=resumption)
            prove(server_context(options, Issuer(record)))
    print(openssl().linkage)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
