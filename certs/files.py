"""Certificates and their keys in files."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificate

from homing.certs.issue import Issued

RENEWED_BEFORE = timedelta(days=30)
"""How long before its end a certificate is replaced."""


def read(path: Path, key_path: Path) -> Issued | None:
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


def ends_soon(certificate: Certificate, now: datetime) -> bool:
    """Whether it is to be replaced."""
    return certificate.not_valid_after_utc - now < RENEWED_BEFORE


def ending(certificate: Certificate, now: datetime) -> str:
    """When it ends or has ended, for people."""
    ends = certificate.not_valid_after_utc
    return f"{'ended' if ends <= now else 'ends'} at {ends:%Y-%m-%d %H:%M} UTC"


def pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """The key, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file at `path` in one step; its permissions are never wider than `mode`.

    Raises OSError.
    """
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
