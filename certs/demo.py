"""A CA and leaf certificates for trying things out, made once and kept (ECDSA P-256)."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificate

from homing.certs.issue import Issued, issue_ca, issue_leaf, names_of

NAMES = ("localhost", "127.0.0.1", "::1")

RENEWED_BEFORE = timedelta(days=30)
"""How long before its end a certificate is replaced."""


@attrs.frozen
class DemoCertificates:
    """The demo certificates in `folder`; their keys are readable by the owner alone."""

    folder: Path
    replaced: tuple[str, ...] = ()
    """A message for each certificate that had ended, or was about to, and was replaced."""

    @property
    def ca(self) -> Path:
        """The CA's certificate, for clients."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The CA's key, to sign more leaf certificates."""
        return self.folder / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        """The servers' certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The servers' key."""
        return self.folder / "server-key.pem"

    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return self.ca, self.ca_key, self.certificate, self.key


def demo_certificates(
    folder: Path, names: Sequence[str] = NAMES, now: datetime | None = None
) -> DemoCertificates:
    """The demo certificates in `folder`.  Makes those that are missing or end soon, keeps the rest.

    The leaf holds for `names`, host names and IP addresses; one that replaces another holds for the
    names of the old one.  The caller makes sure that nobody else can write to `folder`.  Raises
    OSError, and ValueError for what is neither a host name nor an address.
    """
    now = now or datetime.now(UTC)
    made = DemoCertificates(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ca = _read(made.ca, made.ca_key)
    leaf = _read(made.certificate, made.key) if ca else None
    if ca and leaf and leaf.certificate.issuer != ca.certificate.subject:
        return made  # of another CA: not ours to replace
    replaced = [
        f"{path} {_ending(one.certificate, now)}"
        for path, one in ((made.ca, ca), (made.certificate, leaf))
        if one and _ends_soon(one.certificate, now)
    ]
    if ca is None or _ends_soon(ca.certificate, now):
        ca = issue_ca(now)
        _write(made.ca_key, _pem(ca.key), 0o600)
        _write(made.ca, ca.certificate.public_bytes(Encoding.PEM), 0o644)
    elif leaf is not None and not _ends_soon(leaf.certificate, now):
        return made
    listed = names_of(leaf.certificate) if leaf else []
    fresh = issue_leaf(ca, listed or names, now)
    _write(made.key, _pem(fresh.key), 0o600)
    _write(made.certificate, fresh.certificate.public_bytes(Encoding.PEM), 0o644)
    return attrs.evolve(made, replaced=tuple(replaced))


def _read(path: Path, key_path: Path) -> Issued | None:
    """A certificate and its key; None when either file is missing.  Raises OSError."""
    try:
        contents = _content(path), _content(key_path)
    except FileNotFoundError:
        return None
    try:
        certificate = load_pem_x509_certificate(contents[0])
        key = load_pem_private_key(contents[1], None)
    except (ValueError, TypeError) as error:
        words = f"not a certificate and its key in PEM, remove them: {path}, {key_path.name}"
        raise OSError(errno.EINVAL, words) from error
    return Issued(certificate, key)  # type: ignore[arg-type]  # of a CA or a server it is one


def _content(path: Path) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        return file.read()


def _ends_soon(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_after_utc - now < RENEWED_BEFORE


def _ending(certificate: Certificate, now: datetime) -> str:
    ends = certificate.not_valid_after_utc
    return f"{'ended' if ends <= now else 'ends'} at {ends:%Y-%m-%d %H:%M} UTC"


def _pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file at `path` in one step; its permissions are never wider than `mode`."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
