"""TLS to the members: a CA of the registry's own, their names checked, our own certificate."""

from __future__ import annotations

from pathlib import Path

import attrs
from OpenSSL.SSL import Error as TlsError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)


@attrs.frozen
class RegistryTls:
    """Who may have signed the members' certificates, and who we are."""

    authorities: tuple[Certificate, ...]
    """None: those that the system trusts."""
    client: PrivateCertificate | None

    def connection_to(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Makes connections that are good only if the certificate holds for `host`."""
        roots = trustRootFromCertificates(self.authorities) if self.authorities else None
        return optionsForClientTLS(host, roots, self.client)


NOTHING = RegistryTls((), None)


def load_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> RegistryTls:
    """Read PEM files: `registry_ca`, `registry_certificate`, `registry_key`.

    Raises OSError, and ValueError with the file's name for what is not in PEM or does not fit.
    """
    authorities = () if ca is None else _authorities(ca)
    if certificate is None and key is None:
        return RegistryTls(authorities, None)
    if certificate is None or key is None:
        raise ValueError("registry_certificate and registry_key belong together")
    return RegistryTls(authorities, _client(certificate, key))


def _authorities(path: Path) -> tuple[Certificate, ...]:
    end = b"-----END CERTIFICATE-----"
    blocks = [block + end for block in path.read_bytes().split(end)[:-1]]
    try:
        found = tuple(Certificate.loadPEM(block) for block in blocks)
    except (TlsError, ValueError):
        found = ()
    if not found:
        raise ValueError(f"{path}: not certificates in PEM")
    return found


def _client(certificate: Path, key: Path) -> PrivateCertificate:
    public, private = certificate.read_bytes(), key.read_bytes()
    try:
        pair = KeyPair.load(private, 1)  # FILETYPE_PEM
        found: PrivateCertificate = PrivateCertificate.fromCertificateAndKeyPair(
            Certificate.loadPEM(public), pair
        )
    except Exception as error:
        raise ValueError(f"{certificate}, {key.name}: not a certificate and its key") from error
    return found
