"""homing reload: the balancer's processes, replaced by those of what is installed now."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from pathlib import Path

from homing.farm.commands import parsing
from homing.farm.commands.operating.reaching import config_path
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import printable
from homing.farm.processes.balancer import DEFAULT_NAME
from homing.farm.processes.rolling import DONE, FAILED, GRACE, MOST_GRACE, SAYS, socket_path
from homing.shared.errors import HomingError

_GRACE = 3600
_PATIENCE = 120.0
"""Seconds between two steps after which nothing more is expected."""
_LONGEST = 4096


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "reload",
        "put processes of what is installed now in the place of a balancer's, losing no connection",
        "  homing reload --config farm.toml",
        run,
    )
    command.add_argument("--config", "-c", type=Path, metavar="FILE", help="its farm.toml")
    command.add_argument(
        "--name", default=DEFAULT_NAME, help="the balancer's name [default: %(default)s]"
    )
    command.add_argument(
        "--grace",
        type=int,
        default=_GRACE,
        metavar="SECONDS",
        help="how long relayed connections may last in the processes before [default: %(default)s]",
    )


def run(options: argparse.Namespace) -> int:
    """Ask the parent of the balancer's processes, and print what it does."""
    if not 0 <= options.grace <= MOST_GRACE:
        raise parsing.InvalidArgument("--grace", f"allowed: 0 to {MOST_GRACE}")
    path = socket_path(load(config_path(options.config)).state_dir, options.name)
    with socket.socket(socket.AF_UNIX) as parent:
        parent.settimeout(_PATIENCE)
        try:
            parent.connect(str(path))
        except OSError as error:
            raise HomingError(
                f"nobody takes a reload at {path} ({error.strerror or error}): only homing farm, "
                "and a balancer with several workers, can replace processes"
            ) from None
        return _follow(parent, options.grace)


def _follow(parent: socket.socket, grace: int) -> int:
    parent.sendall(f"{GRACE} {grace}\n".encode())
    out = parsing.stderr()
    for line in _lines(parent):
        word, _, rest = line.partition(" ")
        if word == SAYS:
            out.print(printable(rest), soft_wrap=True)
        elif word == DONE:
            out.print("done: new code takes the connections")
            return 0
        elif word == FAILED:
            raise HomingError(f"{printable(rest)}")
    raise HomingError("the farm has ended meanwhile: see its log")


def _lines(parent: socket.socket) -> Iterator[str]:
    rest = b""
    try:
        while said := parent.recv(_LONGEST):
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
    except TimeoutError:
        raise HomingError(f"nothing was heard for {_PATIENCE:g} s: see the farm's log") from None
