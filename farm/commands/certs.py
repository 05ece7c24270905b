"""homing certs: a demo CA and leaf certificates."""

from __future__ import annotations

import argparse
from pathlib import Path

from homing.certs.demo import NAMES, demo_certificates
from homing.farm.commands import parsing
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "certs",
        "make a demo CA and leaf certificates",
        "  homing certs demo && openssl x509 -in demo/server.pem -noout -text",
        run,
    )
    command.add_argument("dir", metavar="DIR", type=Path, help="where to; what is there is kept")
    command.add_argument(
        "--name",
        action="append",
        metavar="NAME",
        help=f"a host name or IP address to hold for; can be repeated [{', '.join(NAMES)}]",
    )


def run(options: argparse.Namespace) -> int:
    """Make them, and print their paths."""
    try:
        owned_folder(options.dir)
        made = demo_certificates(options.dir, options.name or NAMES)
    except ValueError as error:
        names = ", ".join(map(repr, options.name or NAMES))
        fault = f"{names}: no host name or address: {error}"
        raise parsing.InvalidArgument("--name", fault) from None
    except OSError as error:
        raise HomingError(f"cannot write to {options.dir}: {error.strerror}") from error
    for words in made.replaced:
        parsing.stderr().print(f"{words}: there is a new one now", soft_wrap=True)
    out = parsing.stdout()
    for path in made.files():
        out.print(str(path), soft_wrap=True)
    return 0
