"""A CA and leaf certificates for trying things out, made once and kept (ECDSA P-256)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import trustme

NAMES = ("localhost", "127.0.0.1", "::1")

_CA, _CA_KEY = "ca.pem", "ca-key.pem"
_LEAF, _LEAF_KEY = "server.pem", "server-key.pem"


@attrs.frozen
class DemoCertificates:
    """The files in a folder; the keys are readable by their owner alone."""

    folder: Path

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


def demo_certificates(folder: Path, names: Sequence[str] = NAMES) -> DemoCertificates:
    """The demo certificates in `folder`; what is missing is made now, what is there is kept.

    The leaf holds for `names`, host names and IP addresses.  Raises OSError.
    """
    certificates = DemoCertificates(folder)
    if all(path.exists() for path in certificates.files()):
        return certificates
    folder.mkdir(parents=True, exist_ok=True)
    ca = _ca(certificates)
    leaf = ca.issue_cert(*names, organization_name="Homing demo", key_type=trustme.KeyType.ECDSA)
    _write(certificates.key, leaf.private_key_pem.bytes(), 0o600)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    _write(certificates.certificate, chain, 0o644)
    return certificates


def _ca(certificates: DemoCertificates) -> trustme.CA:
    """The CA that is there, or a new one."""
    if certificates.ca.exists() and certificates.ca_key.exists():
        return trustme.CA.from_pem(certificates.ca.read_bytes(), certificates.ca_key.read_bytes())
    ca = trustme.CA(organization_name="Homing demo CA", key_type=trustme.KeyType.ECDSA)
    _write(certificates.ca_key, ca.private_key_pem.bytes(), 0o600)
    _write(certificates.ca, ca.cert_pem.bytes(), 0o644)
    return ca


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put `content` at `path` in one step, never readable by more than `mode` says."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
