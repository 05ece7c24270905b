"""Real TLS clients that come back: each visits /session some times, with the session it kept."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from farm.local import LocalFarm
from farm.s_client import Client, Visit
from tests.whole.clients import context, host_and_port, visit

_TIMEOUT = 60.0


@attrs.frozen
class Way:
    """A way to come back: what a farm and a client do so that it is taken."""

    tls: str
    """1.2 or 1.3."""
    carrier: str
    """What /session calls it."""
    tickets: bool = True
    """Whether the client takes TLS 1.2 tickets."""
    resumption: str = "both"
    """The farm's mode."""
    issued: int = 32
    """How many bytes of an identifier a server draws: a session ID's, or a ticket's key name's."""


WAYS = {
    "session-id": Way("1.2", "session-id", tickets=False),
    "session-id-not-ticket": Way("1.2", "session-id", resumption="ids"),
    "ticket": Way("1.2", "ticket", issued=16),
    "psk-stateless": Way("1.3", "psk", issued=16),
    "psk-stateful": Way("1.3", "psk", resumption="ids"),
}

Visits = list[Visit]


def openssl(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """`openssl s_client`, a process for every visit, the session in a file between them."""
    options = () if way.tickets else ("-no_ticket",)
    with tempfile.TemporaryDirectory() as folder:
        each = [
            Client(farm.listen, way.tls, Path(folder, str(index)), farm.ca, options)
            for index in range(clients)
        ]
        return [[client.visit() for _ in range(visits)] for client in each]


def gnutls(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """`gnutls-cli`, a process for every client: its sessions live no longer than it does.

    Its inline command ``^resume^`` closes the connection and makes another with the session;
    ``--resume`` does the same, but asks nothing over the first connection.
    """
    return [_gnutls_client(farm, way, visits) for _ in range(clients)]


def _gnutls_client(farm: LocalFarm, way: Way, visits: int) -> Visits:
    host, port = host_and_port(farm.listen)
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{way.tls}{'' if way.tickets else ':%NO_TICKETS'}"
    command = ["gnutls-cli", "--inline-commands", "--priority", priority]
    command += ["--x509cafile", str(farm.ca), "--sni-hostname", "localhost"]
    command += ["--verify-hostname", "localhost", "--port", str(port), host]
    with _conversation(command) as (say, hear):
        seen = []
        for count in range(visits):
            said = b""
            if count:
                say(b"^resume^\n")
                said = hear(b"Resume Handshake was completed\n")
            say(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said += hear(b'\n{"server"', b"}")
            facts = json.loads(said[said.rindex(b"\n{") :])
            seen.append(Visit(b"This is a resumed session" in said, facts))
        return seen


@contextmanager
def _conversation(
    command: list[str],
) -> Iterator[tuple[Callable[[bytes], None], Callable[..., bytes]]]:
    """A process to talk to: what says bytes to it, and what hears until some marks have come."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        into, out = process.stdin.fileno(), process.stdout.fileno()
        heard = bytearray()

        def say(line: bytes) -> None:
            os.write(into, line)

        def hear(*marks: bytes) -> bytes:
            end = 0
            for mark in marks:
                while (found := heard.find(mark, end)) < 0:
                    more = os.read(out, 65536)
                    assert more, f"{command[0]} ended before {mark!r}: {bytes(heard[-1000:])!r}"
                    heard.extend(more)
                end = found + len(mark)
            said = bytes(heard[:end])
            del heard[:end]
            return said

        watchdog = threading.Timer(_TIMEOUT, process.kill)
        watchdog.start()
        try:
            yield say, hear
        finally:
            watchdog.cancel()
            process.kill()


def curl(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """`curl`, a process for every client, which connects again for each of its URLs.

    It does not say itself whether a session was resumed: the server's word counts for both.
    """
    _, port = host_and_port(farm.listen)
    command = ["curl", "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]
    command += [f"--tlsv{way.tls}", "--tls-max", way.tls, "--cacert", str(farm.ca)]
    command += ["--resolve", f"localhost:{port}:127.0.0.1", "--header", "Connection: close"]
    command += [f"https://localhost:{port}/session"] * visits
    return [
        [Visit(facts["resumed"], facts) for facts in map(json.loads, _lines(command))]
        for _ in range(clients)
    ]


def python(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """Python's `ssl`, in this process."""
    return [_python_client(farm, way, visits) for _ in range(clients)]


def _python_client(farm: LocalFarm, way: Way, visits: int) -> Visits:
    settings = context(farm.ca, f"TLSv{way.tls}")
    if not way.tickets:
        settings.options |= ssl.OP_NO_TICKET
    session = None
    seen = []
    for _ in range(visits):
        one = visit(farm.listen, settings, session)
        session = one.session
        seen.append(Visit(one.reused, one.answer))
    return seen


def node(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """Node's `tls`, one process for all clients."""
    _, port = host_and_port(farm.listen)
    told = {"port": port, "ca": str(farm.ca), "version": f"TLSv{way.tls}", "tickets": way.tickets}
    told |= {"clients": clients, "visits": visits}
    script = Path(__file__).with_name("node_client.js")
    seen: list[Visits] = [[] for _ in range(clients)]
    for line in _lines(["node", str(script), json.dumps(told)]):
        one = json.loads(line)
        seen[one["client"]].append(Visit(one["resumed"], one["session"]))
    return seen


def _lines(command: list[str]) -> list[bytes]:
    done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr.decode(errors='replace')}"
    return done.stdout.splitlines()


@attrs.frozen
class RealClient:
    """A client program."""

    come_back: Callable[[LocalFarm, Way, int, int], list[Visits]]
    """Has so many clients make so many visits each, one client after the other."""
    ways: tuple[str, ...] = tuple(WAYS)
    """The WAYS it has."""
    command: str | None = None
    """What must be installed."""
    package: str = ""
    """What brings it."""
    visits: int = 3
    """How often each client comes."""

    def missing(self) -> str | None:
        """Why it cannot be tried here, if it cannot."""
        if self.command is not None and not shutil.which(self.command):
            return f"the command {self.command} is missing: install {self.package}"
        if self.command == "curl" and b"OpenSSL" not in _lines(["curl", "--version"])[0]:
            return "this curl is not made with OpenSSL: what its sessions do is not known here"
        return None


REAL_CLIENTS = {
    "openssl": RealClient(openssl, command="openssl", package="OpenSSL"),
    # Two visits: gnutls-cli forgets its session once it has resumed it, and comes a third time
    # without one, to any server (to `openssl s_server`, too).
    "gnutls-cli": RealClient(gnutls, command="gnutls-cli", package="gnutls-bin", visits=2),
    # No TLS 1.2 tickets in curl: made with OpenSSL it sets SSL_OP_NO_TICKET, so that its hello has
    # no session_ticket, and no option changes that.  TLS 1.2 resumes by session ID in both modes.
    "curl": RealClient(
        curl, tuple(way for way in WAYS if way != "ticket"), command="curl", package="curl"
    ),
    "python": RealClient(python),
    "node": RealClient(node, command="node", package="Node.js"),
}
