"""Certificates for a registry in etcd: a CA of its own, its members', and the farm's.

Whoever has a certificate of this CA may change all of the registry: it signs nothing else.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.serialization import Encoding

from homing.certs.files import ending, ends_soon, pem, read, write
from homing.certs.issue import Issued, Role, issue_ca, issue_leaf, names_of

MEMBER_NAME = "homing-registry-member"
"""The common name of members, which tells them from the farm's processes."""
FARM_NAME = "homing-farm"


@attrs.frozen
class Files:
    """A certificate and its key."""

    certificate: Path
    key: Path


@attrs.frozen
class RegistryCertificates:
    """The certificates in a folder; keys are readable by the owner alone."""

    ca: Files
    farm: Files
    members: Mapping[str, Files]
    replaced: tuple[str, ...] = ()
    """A message for each certificate that had ended, or was about to, and was replaced."""

    def files(self) -> tuple[Path, ...]:
        """All of them."""
        pairs = (self.ca, self.farm, *self.members.values())
        return tuple(path for pair in pairs for path in (pair.certificate, pair.key))


def registry_certificates(
    folder: Path, members: Mapping[str, Sequence[str]], now: datetime | None = None
) -> RegistryCertificates:
    """The certificates in `folder`.  Makes those that are missing or end soon, keeps the rest.

    `members` gives each member's host names and IP addresses; a certificate that replaces another
    holds for the names of the old one.  If the CA is new, all others are.  The caller makes sure
    that nobody else can write to `folder`.  Raises OSError, and ValueError for what is neither a
    host name nor an address.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    made = RegistryCertificates(
        _files(folder, "registry-ca"),
        _files(folder, "farm"),
        {name: _files(folder, f"member-{name}") for name in members},
    )
    replaced: list[str] = []
    if made.ca.certificate.exists() and not made.ca.key.exists():  # kept elsewhere, as it should be
        raise OSError(errno.ENOENT, f"{made.ca.key}, which signs certificates, is not here")
    ca = read(made.ca.certificate, made.ca.key)
    if ca is None or _ends(made.ca, ca, now, replaced):
        ca = issue_ca(now, "Homing registry CA")
        _write(made.ca, ca)
    _leaf(made.farm, ca, (FARM_NAME,), Role.CLIENT, FARM_NAME, now, replaced)
    for name, hosts in members.items():
        _leaf(made.members[name], ca, hosts, Role.BOTH, MEMBER_NAME, now, replaced)
    return attrs.evolve(made, replaced=tuple(replaced))


def _files(folder: Path, name: str) -> Files:
    return Files(folder / f"{name}.pem", folder / f"{name}-key.pem")


def _ends(files: Files, issued: Issued, now: datetime, replaced: list[str]) -> bool:
    """Whether it is to be replaced; says so in `replaced`."""
    if not ends_soon(issued.certificate, now):
        return False
    replaced.append(f"{files.certificate} {ending(issued.certificate, now)}")
    return True


def _leaf(
    files: Files,
    ca: Issued,
    names: Sequence[str],
    role: Role,
    common_name: str,
    now: datetime,
    replaced: list[str],
) -> None:
    before = read(files.certificate, files.key)
    if before is not None:
        is_ours = before.certificate.issuer == ca.certificate.subject
        if not _ends(files, before, now, replaced) and is_ours:
            return
        names = names_of(before.certificate)
    _write(files, issue_leaf(ca, names, now, role, common_name))


def _write(files: Files, issued: Issued) -> None:
    write(files.key, pem(issued.key), 0o600)
    write(files.certificate, issued.certificate.public_bytes(Encoding.PEM), 0o644)
