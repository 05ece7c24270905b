"""Real TLS clients that come back: each visits /session some times, with the session it kept."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import attrs

from homing.farm.commands.s_client import Client, Visit
from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.whole.clients import context, visit
from tests.whole.conversation import conversation

_TIMEOUT = 60.0
_AT_ONCE = 10


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

        def client(index: int) -> Visits:
            memory = Path(folder, str(index))
            one = Client(farm.listen, way.tls, memory, ca=farm.ca, options=options)
            return [one.visit() for _ in range(visits)]

        return _all(client, clients)


def _all(client: Callable[[int], Visits], clients: int) -> list[Visits]:
    """The visits of so many clients, some at once: most of them mostly wait."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(client, range(clients)))


def gnutls(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """`gnutls-cli`, a process for every client: its sessions live no longer than it does.

    Its inline command ``^resume^`` closes the connection and makes another with the session;
    ``--resume`` does the same, but asks nothing over the first connection.
    """
    return _all(lambda _: _gnutls_client(farm, way, visits), clients)


def _gnutls_client(farm: LocalFarm, way: Way, visits: int) -> Visits:
    host, port = split_host_and_port(farm.listen)
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{way.tls}{'' if way.tickets else ':%NO_TICKETS'}"
    command = ["gnutls-cli", "--inline-commands", "--priority", priority]
    command += ["--x509cafile", str(farm.ca), "--sni-hostname", "localhost"]
    command += ["--verify-hostname", "localhost", "--port", str(port), host]
    with conversation(command) as client:
        seen = []
        for count in range(visits):
            said = b""
            if count:
                client.say(b"^resume^\n")
                said = client.hear(b"Resume Handshake was completed\n")
            client.say(b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said += client.hear(b'\n{"server"', b"}")
            facts = json.loads(said[said.rindex(b"\n{") :])
            seen.append(Visit(b"This is a resumed session" in said, facts))
        return seen


def curl(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """`curl`, a process for every client, which connects again for each of its URLs.

    It does not say itself whether a session was resumed: the server's word counts for both.
    """
    _, port = split_host_and_port(farm.listen)
    command = ["curl", "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]
    command += [f"--tlsv{way.tls}", "--tls-max", way.tls, "--cacert", str(farm.ca)]
    command += ["--resolve", f"localhost:{port}:127.0.0.1", "--header", "Connection: close"]
    command += [f"https://localhost:{port}/session"] * visits

    def client(_: int) -> Visits:
        return [Visit(facts["resumed"], facts) for facts in map(json.loads, _lines(command))]

    return _all(client, clients)


def python(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """Python's `ssl`, in this process."""
    return _all(lambda _: _python_client(farm, way, visits), clients)


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
    script = Path(__file__).with_name("node_client.js")
    return _told(["node", str(script)], farm, way, clients, visits)


def java(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """Java's JSSE, one process for all clients."""
    source = Path(__file__).with_name("java_client.java")
    return _told(["java", "-XX:TieredStopAtLevel=1", str(source)], farm, way, clients, visits)


def go(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """Go's crypto/tls, one process for all clients."""
    return _told([_go_program()], farm, way, clients, visits)


@cache
def _go_program() -> str:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    program = os.path.join(folder, "go_client")
    source = Path(__file__).with_name("go_client.go")
    # So that it needs neither a home nor a C compiler
    places = {"GOCACHE": os.path.join(folder, "cache"), "GOPATH": folder}
    settings = {**places, **os.environ, "CGO_ENABLED": "0"}
    _lines(["go", "build", "-o", program, str(source)], settings)
    return program


def _told(
    command: Sequence[str], farm: LocalFarm, way: Way, clients: int, visits: int
) -> list[Visits]:
    """What a program of ours prints, one line a visit, that is told by JSON what to do."""
    _, port = split_host_and_port(farm.listen)
    told = {"port": port, "ca": str(farm.ca), "version": f"TLSv{way.tls}", "tickets": way.tickets}
    told |= {"clients": clients, "visits": visits}
    seen: list[Visits] = [[] for _ in range(clients)]
    for line in _lines([*command, json.dumps(told)]):
        one = json.loads(line)
        seen[one["client"]].append(Visit(one["resumed"], one["session"]))
    return seen


def _lines(command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[bytes]:
    done = subprocess.run(
        command, capture_output=True, timeout=_TIMEOUT, check=False, env=environment
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr.decode(errors='replace')}"
    return done.stdout.splitlines()


@attrs.frozen
class RealClient:
    """A client program."""

    come_back: Callable[[LocalFarm, Way, int, int], list[Visits]]
    """Has so many clients make so many visits each."""
    ways: tuple[str, ...] = tuple(WAYS)
    """The WAYS it has."""
    command: str | None = None
    """What must be installed."""
    package: str = ""
    """What brings it."""
    clients: int = 6
    """How many of them come,"""
    returns: int = 5
    """and how often each comes back."""

    def missing(self) -> str | None:
        """Why it cannot be tried here, if it cannot."""
        if self.command is not None and not shutil.which(self.command):
            return f"the command {self.command} is missing: install {self.package}"
        if self.command == "curl" and b"OpenSSL" not in _lines(["curl", "--version"])[0]:
            return "this curl is not made with OpenSSL: what its sessions do is not known here"
        return None


REAL_CLIENTS = {
    "openssl": RealClient(openssl, command="openssl", package="OpenSSL"),
    # One return: gnutls-cli forgets its session once it has resumed it, and comes a third time
    # without one, to any server (to `openssl s_server`, too).
    "gnutls-cli": RealClient(
        gnutls, command="gnutls-cli", package="gnutls-bin", clients=30, returns=1
    ),
    # No TLS 1.2 tickets in curl: made with OpenSSL it sets SSL_OP_NO_TICKET, so that its hello has
    # no session_ticket, and no option changes that.  TLS 1.2 resumes by session ID in both modes.
    "curl": RealClient(
        curl, tuple(way for way in WAYS if way != "ticket"), command="curl", package="curl"
    ),
    "python": RealClient(python),
    "node": RealClient(node, command="node", package="Node.js"),
    # The compiler: the program is run from its source
    "java": RealClient(java, command="javac", package="default-jdk-headless"),
    # No session IDs in Go: its TLS 1.2 client keeps tickets only, and what it sends as a session ID
    # with one is random.
    "go": RealClient(
        go, ("ticket", "psk-stateless", "psk-stateful"), command="go", package="golang-go"
    ),
}
