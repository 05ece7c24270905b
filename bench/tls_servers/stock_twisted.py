"""A TLS server as Twisted's documentation has it, with sessions and tickets on.

python bench/tls_servers/stock_twisted.py PORT CERTIFICATE KEY
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM, load_certificate, load_privatekey
from twisted.internet import reactor as installed
from twisted.internet import ssl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.tls_servers.answer import factory


def main() -> None:
    """Serve until killed."""
    reactor: Any = installed
    port, certificate, key = sys.argv[1:]
    options = ssl.CertificateOptions(
        privateKey=load_privatekey(FILETYPE_PEM, Path(key).read_bytes()),
        certificate=load_certificate(FILETYPE_PEM, Path(certificate).read_bytes()),
        enableSessions=True,
        enableSessionTickets=True,
    )
    reactor.listenSSL(int(port), factory(), options, 4096, "127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
