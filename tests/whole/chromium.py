"""A browser that comes back: Chromium opens the demo application's page, and opens it again."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from homing.farm.commands.s_client import Visit
from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.whole.devtools import DevTools, Window, browser
from tests.whole.real_clients import RealClient, Visits, Way

_FACTS = """Object.fromEntries(Array.from(document.querySelectorAll("tr"),
    row => Array.from(row.cells, cell => cell.textContent)))"""


def chromium(farm: LocalFarm, way: Way, clients: int, visits: int) -> list[Visits]:
    """A client is a browser context: an incognito window, which shares no TLS session."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        log = folder / "net-log.json"
        with browser(folder, [*_options(farm, way), f"--log-net-log={log}"]) as tools:
            seen = [_client(tools, farm_url(farm), visits) for _ in range(clients)]
        resumed = _resumed(log)
    return [[Visit(resumed[page["client"]].pop(0), page) for page in pages] for pages in seen]


def farm_url(farm: LocalFarm) -> str:
    """Where a browser finds the demo page."""
    return f"https://localhost:{split_host_and_port(farm.listen)[1]}/"


def _options(farm: LocalFarm, way: Way) -> list[str]:
    # An exception for an unknown CA would not do: with one, each visit begins with a connection
    # that fails, and takes a ticket of TLS 1.3 with it.
    return [trusting(farm), f"--ssl-version-min=tls{way.tls}", f"--ssl-version-max=tls{way.tls}"]


def trusting(farm: LocalFarm) -> str:
    """The option that has it trust the farm's certificate."""
    certificate = load_pem_x509_certificate((farm.state_dir / "server.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={b64encode(sha256(key).digest()).decode()}"


def _client(tools: DevTools, url: str, visits: int) -> list[dict[str, Any]]:
    window = Window(tools)
    seen = [_visit(window, url) for _ in range(visits)]
    window.close()
    return seen


def _visit(window: Window, url: str) -> dict[str, Any]:
    """What the page says about its connection, in the words of /session."""
    window.load(url)
    words: dict[str, str] = window.evaluate(_FACTS)
    return {
        **{name: None if word == "none" else word for name, word in words.items()},
        "resumed": words["resumed"] == "True",
        "issued": [] if words["issued"] == "none" else words["issued"].split(", "),
    }


def _resumed(log: Path) -> dict[str, list[bool]]:
    """Whether Chromium resumed a session, by its own word; by its end of the connection.

    One after the other, as the system may give a port out again.
    """
    logged = json.loads(log.read_text())
    kinds = logged["constants"]["logEventTypes"]
    ends: dict[int, str] = {}
    resumed: dict[str, list[bool]] = {}
    for event in logged["events"]:
        connection, facts = event["source"]["id"], event.get("params", {})
        if event["type"] == kinds["TCP_CONNECT"] and "local_address" in facts:
            ends[connection] = facts["local_address"]
        if event["type"] == kinds["SSL_CONNECT"] and "is_resumed" in facts:
            resumed.setdefault(ends[connection], []).append(facts["is_resumed"])
    return resumed


# Not "session-id": no option keeps Chromium from taking TLS 1.2 tickets.
CHROMIUM = RealClient(
    chromium,
    ("session-id-not-ticket", "ticket", "psk-stateless", "psk-stateful"),
    command="chromium",
    package="chromium",
)
