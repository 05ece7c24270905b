"""Issues X.509 certificates, of a CA and of servers, that every TLS client accepts.

Only the extensions that must be critical are: BearSSL refuses critical extensions that it does not
know, extended key usage among them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from secrets import token_urlsafe

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=820)
"""Apple's clients accept 825 days at most."""

_UNUSED = (
    *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("encipher_only", "decipher_only"),
)
_SLACK = timedelta(days=1)
"""Certificates begin earlier than now by this, for clients whose clocks are behind."""


@attrs.frozen
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes = attrs.field(repr=False)


class Role(Enum):
    """What a leaf certificate is for: its extended key usages."""

    SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
    CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def issue_ca(now: datetime, organization: str = "Homing demo CA") -> Issued:
    """A new CA, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(organization, "Testing CA")
    builder = _builder(name, name, key, now, now + CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(ca=True), critical=True)
    return Issued(builder.sign(key, SHA256()), key)


def issue_leaf(
    ca: Issued,
    names: Sequence[str],
    now: datetime,
    role: Role = Role.SERVER,
    common_name: str | None = None,
) -> Issued:
    """A certificate for these host names and IP addresses, signed by `ca`.

    Raises ValueError for what is neither a host name nor an address.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + LEAF_LIFETIME, ca.certificate.not_valid_after_utc)
    subject = _name("Homing demo", "Testing cert", common_name)
    builder = _builder(subject, ca.certificate.subject, key, now, ends)
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca.key.public_key())
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(ca=False), True),
        (x509.ExtendedKeyUsage(role.value), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ):
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(ca.key, SHA256()), key)


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and IP addresses that a certificate holds for."""
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in listed.value]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(ends)
        .add_extension(identifier, critical=False)
    )


def _name(organization: str, unit: str, common_name: str | None = None) -> x509.Name:
    """A name that is never used twice: browsers tell CAs apart by it."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{unit} #{token_urlsafe(12)}"),
    ]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, **dict.fromkeys(_UNUSED, False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    ascii_name = name.encode("idna").decode()
    if not ascii_name or not set(ascii_name) <= _ALLOWED:
        raise ValueError(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(ascii_name)


_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*")
