"""The farm.toml of a demo farm."""

from __future__ import annotations

import socket
from pathlib import Path

from homing.farm.config.values import Endpoint
from homing.server.files import replace
from homing.server.ownership import owned_folder
from homing.shared.schemes import SCHEMES

MOST_SERVERS = 256

_HEAD = """\
# Made by homing farm at every start; to change it, copy it and use --config.
[farm]
state_dir = "."
log_connections = true

[balancer]
listen = ["{listen}"]
workers = {workers}
{more}
[session_ids]
scheme = "{scheme}"
resumption = "{resumption}"
"""

_SERVER = """
[[server]]
name = "{name}"
address = "{address}"
"""


def write_demo(
    folder: Path,
    servers: int,
    listen: Endpoint,
    scheme: str,
    relay: bool = False,
    ignore_ids: bool = False,
    resumption: str = "both",
    workers: int = 1,
) -> Path:
    """Write the farm.toml of a farm of `servers` servers into `folder`; returns its path.

    Raises HomingError when others can write to `folder`, OSError.
    """
    more = 'ignore_ids = true\npolicy = "random"\n' if ignore_ids else ""
    parts = [
        _HEAD.format(
            listen=_quoted(listen.description),
            workers=workers,
            scheme=scheme,
            more=more,
            resumption=resumption,
        )
    ]
    parts.append(SCHEMES[scheme].demo)
    ports = _free_ports(servers) if relay else []
    for index in range(servers):
        name = f"s{index + 1}"
        address = f"tcp:127.0.0.1:{ports[index]}" if relay else f"unix:{name}.sock"
        parts.append(_SERVER.format(name=name, address=address))
        if relay:
            parts.append("proxy_protocol = true\n")
    owned_folder(folder)
    path = folder / "farm.toml"
    replace(path, "".join(parts).encode())
    return path


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
