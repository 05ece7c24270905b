"""Visits with the real ``openssl s_client``, which saves its session and comes back with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import attrs

from shared.errors import HomingError

VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}


@attrs.frozen
class Carrier:
    """A way to come back: what `s_client` and the farm are told so that it is taken."""

    tls: str
    options: tuple[str, ...] = ()
    resumption: str = "both"


CARRIERS = {
    "session-id": Carrier("1.2", ("-no_ticket",)),
    "ticket": Carrier("1.2"),
    "psk-stateful": Carrier("1.3", resumption="ids"),
    "psk-stateless": Carrier("1.3"),
}

_REQUEST = b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_TIMEOUT = 30.0


@attrs.frozen
class Visit:
    """What one visit saw."""

    resumed: bool
    """By the client's own word."""
    session: dict[str, Any] | None
    """What ``/session`` answered, where the server is one of ours."""

    @property
    def server(self) -> str | None:
        """The server that answered."""
        return self.session["server"] if self.session else None


@attrs.frozen
class Client:
    """One client: `session_file` is its memory."""

    connect: str
    version: str
    session_file: Path
    ca: Path | None = None
    options: tuple[str, ...] = ()

    def visit(self) -> Visit:
        """Connect, with the saved session if there is one, and save the session that results.

        A response is read first, so that TLS 1.3's NewSessionTicket has arrived.  Raises
        HomingError when the visit fails.
        """
        command = [
            *("openssl", "s_client", "-connect", self.connect, VERSIONS[self.version]),
            *("-servername", "localhost", "-ign_eof", "-sess_out", str(self.session_file)),
            *self.options,
        ]
        if self.ca is not None:
            command += ["-CAfile", str(self.ca), "-verify_return_error"]
        if self.session_file.exists():
            command += ["-sess_in", str(self.session_file)]
        try:
            done = subprocess.run(  # noqa: S603
                command, input=_REQUEST, capture_output=True, timeout=_TIMEOUT, check=False
            )
        except FileNotFoundError:
            raise HomingError("the command openssl is missing: install OpenSSL") from None
        except subprocess.TimeoutExpired:
            raise HomingError(f"no answer from {self.connect} within {_TIMEOUT:g} s") from None
        return _visit(done)


def _visit(done: subprocess.CompletedProcess[bytes]) -> Visit:
    lines = done.stdout.decode(errors="replace").splitlines()
    resumed = any(line.startswith("Reused, TLS") for line in lines)
    if not resumed and not any(line.startswith("New, TLS") for line in lines):
        last_words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise HomingError(f"a TLS handshake failed: {' '.join(last_words) or 'no output'}")
    answers = [line for line in lines if line.startswith('{"server"')]
    return Visit(resumed, json.loads(answers[0]) if answers else None)
