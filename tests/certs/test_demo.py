"""The demo certificates: made once, kept, usable, and their keys private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import (
    DNSName,
    IPAddress,
    SubjectAlternativeName,
    load_pem_x509_certificate,
)

from certs.demo import DemoCertificates, demo_certificates


def names(made: DemoCertificates) -> set[str]:
    """What the leaf holds for."""
    leaf = load_pem_x509_certificate(made.certificate.read_bytes())
    listed = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    return {*listed.get_values_for_type(DNSName), *map(str, listed.get_values_for_type(IPAddress))}


def test_the_leaf_holds_for_every_way_to_say_this_machine(tmp_path: Path) -> None:
    assert names(demo_certificates(tmp_path)) == {"localhost", "127.0.0.1", "::1"}
    assert names(demo_certificates(tmp_path / "other", ["farm.test"])) == {"farm.test"}


def test_the_ca_signed_the_leaf_and_both_keys_fit(tmp_path: Path) -> None:
    made = demo_certificates(tmp_path)
    ca = load_pem_x509_certificate(made.ca.read_bytes())
    leaf = load_pem_x509_certificate(made.certificate.read_bytes())
    leaf.verify_directly_issued_by(ca)
    for certificate, path in ((ca, made.ca_key), (leaf, made.key)):
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_keys_are_readable_by_their_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = demo_certificates(tmp_path / "new" / "folder")
    finally:
        os.umask(before)
    for key in (made.key, made.ca_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_certificates_are_kept(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in demo_certificates(tmp_path).files()]
    assert [path.read_bytes() for path in demo_certificates(tmp_path).files()] == first


@pytest.mark.parametrize("lost", range(4))
def test_an_incomplete_set_is_made_anew_and_fits_together(tmp_path: Path, lost: int) -> None:
    made = demo_certificates(tmp_path)
    made.files()[lost].unlink()
    ca, _, leaf, _ = (path.read_bytes() for path in demo_certificates(tmp_path).files())
    load_pem_x509_certificate(leaf).verify_directly_issued_by(load_pem_x509_certificate(ca))


def test_what_an_interrupted_start_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".server-key.pem.new").write_bytes(b"half a k")
    made = demo_certificates(tmp_path)
    load_pem_private_key(made.key.read_bytes(), None)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.files()}


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        demo_certificates(tmp_path / "file" / "below")
