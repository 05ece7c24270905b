"""Visits with the real ``openssl s_client``, which saves its session and comes back with it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any

import attrs

from homing.farm.config.values import server_name
from homing.shared.errors import HomingError

VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}


@attrs.frozen
class CarrierOptions:
    """How a session comes back, and the options with which `s_client` and the farm use it."""

    name: str
    tls: str
    options: tuple[str, ...] = ()
    resumption: str = "both"


CARRIERS = {
    carrier.name: carrier
    for carrier in (
        CarrierOptions("session-id", "1.2", ("-no_ticket",)),
        CarrierOptions("ticket", "1.2"),
        CarrierOptions("psk-stateful", "1.3", resumption="ids"),
        CarrierOptions("psk-stateless", "1.3"),
    )
}

_REQUEST = b"GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_TIMEOUT = 30.0
_MOST = 1 << 20
"""Bytes of output that are read; ours is a few thousand."""


@attrs.frozen
class Visit:
    """What one visit saw."""

    resumed: bool
    """As `s_client` reports it."""
    session: dict[str, Any] | None
    """What ``/session`` answered, where the server is one of ours."""

    @property
    def server(self) -> str | None:
        """The server that answered."""
        return self.session["server"] if self.session else None


@attrs.frozen
class Client:
    """A client that keeps its session in `session_file`."""

    connect: str
    version: str
    session_file: Path
    ca: Path | None = attrs.field(default=None, kw_only=True)
    options: tuple[str, ...] = attrs.field(default=(), kw_only=True)

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
        return _visit(*_run(command, self.connect))


def _run(command: list[str], connect: str) -> tuple[bytes, str]:
    """What `s_client` writes, and its last line on standard error.

    Both time and output are bounded, whatever the server sends.
    """
    late = Event()
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except FileNotFoundError:
            raise HomingError("the command openssl is missing: install OpenSSL") from None

        def give_up() -> None:
            late.set()
            process.kill()

        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            alarm = Timer(_TIMEOUT, give_up)
            alarm.start()
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(_REQUEST)
                    process.stdin.flush()
                out = process.stdout.read(_MOST)
                if len(out) == _MOST:
                    process.kill()
            finally:
                alarm.cancel()
        errors.seek(0)
        last_words = errors.read(_MOST).decode(errors="replace").strip().splitlines()[-1:]
    if late.is_set():
        raise HomingError(f"no answer from {connect} within {_TIMEOUT:g} s")
    return out, " ".join(last_words)


def _visit(out: bytes, last_words: str) -> Visit:
    """Raises HomingError where there was no handshake."""
    lines = out.decode(errors="replace").splitlines()
    handshakes = [line for line in lines if line.startswith(("New, TLS", "Reused, TLS"))]
    if not handshakes:
        raise HomingError(f"a TLS handshake failed: {last_words or 'no output'}")
    sessions = (_session(line) for line in lines if line.startswith('{"server"'))
    resumed = handshakes[0].startswith("Reused")  # what comes later the server may have sent
    return Visit(resumed, next(filter(None, sessions), None))


def _session(line: str) -> dict[str, Any] | None:
    """What ``/session`` of one of ours answered; None for any other answer."""
    try:
        answer = json.loads(line)
        server_name(answer["server"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(answer)
