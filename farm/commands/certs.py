"""homing certs: a demo CA and leaf certificates, or those of a registry in etcd."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from homing.certs.demo import NAMES, demo_certificates
from homing.certs.registry import MEMBER_NAME, RegistryCertificates, registry_certificates
from homing.farm.commands import parsing
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError

_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""A member's name, which becomes part of a file's."""


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "certs",
        "make a demo CA and leaf certificates, or those of a registry in etcd",
        "  homing certs demo && openssl x509 -in demo/server.pem -noout -text\n"
        "  homing certs registry --etcd --member e1=10.0.0.7 --member e2=10.0.0.8,e2.example.org",
        run,
    )
    command.add_argument("dir", metavar="DIR", type=Path, help="where to; what is there is kept")
    command.add_argument(
        "--name",
        action="append",
        metavar="NAME",
        help=f"a host name or IP address to hold for; can be repeated [{', '.join(NAMES)}]",
    )
    command.add_argument(
        "--etcd", action="store_true", help="make the certificates of a registry in etcd"
    )
    command.add_argument(
        "--member",
        action="append",
        metavar="NAME[=HOST,...]",
        help="with --etcd: a member, and the host names and IP addresses that it is reached by; "
        f"can be repeated [default={','.join(NAMES)}]",
    )


def run(options: argparse.Namespace) -> int:
    """Make them, and print their paths."""
    if options.etcd and options.name:
        raise parsing.InvalidArgument("--name", "with --etcd, names belong to --member")
    if options.member and not options.etcd:
        raise parsing.InvalidArgument("--member", "only with --etcd")
    try:
        if options.etcd:
            return _registry(options.dir, options.member or ["default"])
        return _demo(options.dir, options.name or NAMES)
    except OSError as error:
        raise HomingError(f"cannot write to {options.dir}: {error.strerror}") from error


def _demo(folder: Path, names: Sequence[str]) -> int:
    try:
        owned_folder(folder)
        made = demo_certificates(folder, names)
    except ValueError as error:
        listed = ", ".join(map(repr, names))
        fault = f"{listed}: no host name or address: {error}"
        raise parsing.InvalidArgument("--name", fault) from None
    _show(made.replaced, made.files())
    return 0


def _registry(folder: Path, texts: Sequence[str]) -> int:
    try:
        members = dict(map(_member, texts))
        if len(members) < len(texts):
            raise ValueError("a member is named twice")
        owned_folder(folder)
        made = registry_certificates(folder, members)
    except ValueError as error:
        raise parsing.InvalidArgument("--member", str(error)) from None
    _show(made.replaced, made.files())
    parsing.stderr().print(_what_goes_where(made), soft_wrap=True, highlight=False, markup=False)
    return 0


def _member(text: str) -> tuple[str, Sequence[str]]:
    """The name and the hosts in NAME[=HOST,...].  Raises ValueError."""
    name, equals, hosts = text.partition("=")
    if not _MEMBER.fullmatch(name):
        raise ValueError(f"{text!r} is not NAME[=HOST,...]")
    return name, hosts.split(",") if equals else NAMES


def _show(replaced: Sequence[str], files: Sequence[Path]) -> None:
    for words in replaced:
        parsing.stderr().print(f"{words}: there is a new one now", soft_wrap=True)
    out = parsing.stdout()
    for path in files:
        out.print(str(path), soft_wrap=True)


def _what_goes_where(made: RegistryCertificates) -> str:
    words = [f"{made.ca.key} stays where it is: it signs more certificates."]
    for name, files in made.members.items():
        certificate, key, ca = files.certificate.name, files.key.name, made.ca.certificate.name
        words += [
            f"etcd {name} gets {certificate}, {key} and {ca}, and the options",
            f"  --cert-file {certificate} --key-file {key}"
            f" --client-cert-auth --trusted-ca-file {ca}",
            f"  --peer-cert-file {certificate} --peer-key-file {key}"
            f" --peer-client-cert-auth --peer-trusted-ca-file {ca}",
            f"  --peer-cert-allowed-cn {MEMBER_NAME}",
        ]
    words += [
        "Every machine of the farm gets, in farm.toml, [farm]:",
        f'  registry_ca = "{made.ca.certificate.name}"',
        f'  registry_certificate = "{made.farm.certificate.name}"',
        f'  registry_key = "{made.farm.key.name}"',
    ]
    return "\n".join(words)
