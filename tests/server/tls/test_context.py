"""Contexts: what is wrong with certificate files, what clients may do, how long sessions live."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL

from homing.server.openssl.calls import session_reused
from homing.server.tls.context import TLSOptions, server_context
from homing.shared.errors import HomingError
from tests.tls import InMemory, certificates, issuer, options

BOTH = pytest.mark.parametrize(
    "version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"]
)


def refusal(tls: TLSOptions) -> str:
    """What is said about these files."""
    with pytest.raises(HomingError) as refused:
        server_context(tls, issuer())
    return str(refused.value)


@pytest.mark.parametrize("field", ["certificate", "key"])
def test_a_missing_file_is_named(field: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    text = refusal(options(**{field: missing}))
    assert str(missing) in text
    assert "No such file" in text


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(options(certificate=tmp_path))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "key.pem"
    stranger = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost")
    other.write_bytes(stranger.private_key_pem.bytes())
    text = refusal(options(key=other))
    assert str(other) in text
    assert "are not a certificate chain and its key" in text


@pytest.mark.parametrize("content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("field", ["certificate", "key"])
def test_rubbish_is_refused(content: bytes, field: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_bytes(content)
    text = refusal(options(**{field: file}))
    assert str(file) in text
    assert "PEM" in text


def test_a_der_certificate_is_refused_with_the_word_pem(tmp_path: Path) -> None:
    leaf = load_pem_x509_certificate(certificates().certificate.read_bytes())
    file = tmp_path / "leaf.der"
    file.write_bytes(leaf.public_bytes(Encoding.DER))
    assert "PEM" in refusal(options(certificate=file))


def test_swapped_files_are_refused() -> None:
    assert "PEM" in refusal(options(certificate=certificates().key, key=certificates().certificate))


def test_clients_below_tls_1_2_get_nothing() -> None:
    sessions = server_context(options(), issuer())
    with pytest.raises(SSL.Error):
        InMemory(sessions.ssl_context, SSL.TLS1_1_VERSION).shake_hands()


def test_the_cache_keeps_as_many_sessions_as_it_was_told_the_newest_ones() -> None:
    sessions = server_context(options(session_cache=3), issuer())
    version = SSL.TLS1_2_VERSION
    kept = [InMemory(sessions.ssl_context, version).shake_hands().resumable() for _ in range(5)]
    pairs = [InMemory(sessions.ssl_context, version, one).shake_hands() for one in reversed(kept)]
    resumed = [session_reused(pair.server) for pair in pairs]
    assert resumed[0]
    assert not resumed[-1]


@BOTH
def test_clients_cannot_make_the_server_work_by_renegotiating(version: int) -> None:
    sessions = server_context(options(), issuer())
    pair = InMemory(sessions.ssl_context, version).shake_hands()
    with pytest.raises(SSL.Error):
        pair.renegotiate()


def test_clients_may_renegotiate_where_the_farm_allows_it() -> None:
    sessions = server_context(options(renegotiation=True), issuer())
    InMemory(sessions.ssl_context, SSL.TLS1_2_VERSION).shake_hands().renegotiate()
