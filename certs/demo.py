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
"""A certificate that ends sooner than that is replaced."""

_CA, _CA_KEY = "ca.pem", "ca-key.pem"
_LEAF, _LEAF_KEY = "server.pem", "server-key.pem"


@attrs.frozen
class DemoCertificates:
    """The files in a folder; the keys are readable by their owner alone."""

    folder: Path
    replaced: tuple[str, ...] = ()
    """What was there until now, and had ended or was about to, in words."""

    @property
    def ca(self) -> Path:
        """The CA's certificate, for clients."""
        return self.folder / _CA

    @property
    def ca_key(self) -> Path:
        """The CA's key, for more leaf certificates."""
        return self.folder / _CA_KEY

    @property
    def certificate(self) -> Path:
        """The servers' certificate."""
        return self.folder / _LEAF

    @property
    def key(self) -> Path:
        """The servers' key."""
        return self.folder / _LEAF_KEY

    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return self.ca, self.ca_key, self.certificate, self.key


def demo_certificates(
    folder: Path, names: Sequence[str] = NAMES, now: datetime | None = None
) -> DemoCertificates:
    """The demo certificates in `folder`; what is missing or ends soon is made now, the rest kept.

    The leaf holds for `names`, host names and IP addresses; in place of one that ended, for the
    names it had.  Nobody else may be able to write to `folder`: see to that before.  Raises
    OSError, and ValueError for a name that is none.
    """
    now = now or datetime.now(UTC)
    made = DemoCertificates(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ca = _read(made.ca, made.ca_key)
    leaf = _read(made.certificate, made.key) if ca else None
    if ca and leaf and leaf.certificate.issuer != ca.certificate.subject:
        return made  # somebody's own, not for us to replace
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
    """A certificate and its key; None when one is not there.  Raises OSError."""
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
    """Put `content` at `path` in one step, never readable by more than `mode` says."""
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
