"""A CA and leaf certificates for trying things out, made once and kept (ECDSA P-256)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.serialization import Encoding

from homing.certs.files import ending, ends_soon, pem, read, write
from homing.certs.issue import issue_ca, issue_leaf, names_of

NAMES = ("localhost", "127.0.0.1", "::1")


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
    ca = read(made.ca, made.ca_key)
    leaf = read(made.certificate, made.key) if ca else None
    if ca and leaf and leaf.certificate.issuer != ca.certificate.subject:
        return made  # of another CA: not ours to replace
    replaced = [
        f"{path} {ending(one.certificate, now)}"
        for path, one in ((made.ca, ca), (made.certificate, leaf))
        if one and ends_soon(one.certificate, now)
    ]
    if ca is None or ends_soon(ca.certificate, now):
        ca = issue_ca(now)
        write(made.ca_key, pem(ca.key), 0o600)
        write(made.ca, ca.certificate.public_bytes(Encoding.PEM), 0o644)
    elif leaf is not None and not ends_soon(leaf.certificate, now):
        return made
    listed = names_of(leaf.certificate) if leaf else []
    fresh = issue_leaf(ca, listed or names, now)
    write(made.key, pem(fresh.key), 0o600)
    write(made.certificate, fresh.certificate.public_bytes(Encoding.PEM), 0o644)
    return attrs.evolve(made, replaced=tuple(replaced))
