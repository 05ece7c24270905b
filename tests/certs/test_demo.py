"""The demo certificates: made once, kept, usable, and their keys private."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import (
    AuthorityKeyIdentifier,
    BasicConstraints,
    Certificate,
    DNSName,
    ExtendedKeyUsage,
    IPAddress,
    KeyUsage,
    SubjectAlternativeName,
    SubjectKeyIdentifier,
    load_pem_x509_certificate,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from homing.certs.demo import DemoCertificates, demo_certificates


def loaded(path: Path) -> Certificate:
    return load_pem_x509_certificate(path.read_bytes())


def names_of(made: DemoCertificates) -> set[str]:
    """What the leaf holds for."""
    leaf = loaded(made.certificate)
    listed = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    return {*listed.get_values_for_type(DNSName), *map(str, listed.get_values_for_type(IPAddress))}


def test_the_leaf_holds_for_every_way_to_say_this_machine(tmp_path: Path) -> None:
    assert names_of(demo_certificates(tmp_path)) == {"localhost", "127.0.0.1", "::1"}
    assert names_of(demo_certificates(tmp_path / "other", ["farm.test"])) == {"farm.test"}


def test_the_ca_signed_the_leaf_and_both_keys_fit(tmp_path: Path) -> None:
    made = demo_certificates(tmp_path)
    ca = loaded(made.ca)
    leaf = loaded(made.certificate)
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


def test_no_client_meets_an_extension_that_it_must_know_and_does_not(tmp_path: Path) -> None:
    made = demo_certificates(tmp_path)
    for path, ca in ((made.ca, True), (made.certificate, False)):
        extensions = loaded(path).extensions
        assert {type(one.value) for one in extensions if one.critical} == {
            BasicConstraints,
            KeyUsage,
        }
        constraints = extensions.get_extension_for_class(BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (ca, 0 if ca else None)
        extensions.get_extension_for_class(SubjectKeyIdentifier)
    leaf = loaded(made.certificate)
    assert list(leaf.extensions.get_extension_for_class(ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    leaf.extensions.get_extension_for_class(AuthorityKeyIdentifier)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=825)  # Apple's


@pytest.mark.parametrize("names", [["farm.test", "10.0.0.1", "*.farm.test"], ["b\u00fccher.test"]])
def test_a_leaf_about_to_end_is_replaced_for_the_names_it_had_and_the_ca_stays(
    tmp_path: Path, names: list[str]
) -> None:
    made = demo_certificates(tmp_path, names)
    ca, held = made.ca.read_bytes(), names_of(made)
    ends = loaded(made.certificate).not_valid_after_utc
    assert demo_certificates(tmp_path, now=ends - timedelta(days=31)).replaced == ()
    for ago, word in ((-29, "ends at"), (1, "ended at")):
        now = ends + timedelta(days=ago)
        (said,) = demo_certificates(tmp_path, now=now).replaced
        assert said.startswith(f"{made.certificate} {word}")
        assert demo_certificates(tmp_path, now=now).replaced == ()
        assert names_of(made) == held
        assert made.ca.read_bytes() == ca
        fresh = loaded(made.certificate)
        fresh.verify_directly_issued_by(load_pem_x509_certificate(ca))
        ends = fresh.not_valid_after_utc
        assert ends > now + timedelta(days=600)


def test_a_ca_about_to_end_is_replaced_with_its_leaf(tmp_path: Path) -> None:
    made = demo_certificates(tmp_path)
    ends = loaded(made.ca).not_valid_after_utc
    said = demo_certificates(tmp_path, now=ends - timedelta(days=3)).replaced
    assert [line.split()[0] for line in said] == [str(made.ca), str(made.certificate)]
    ca, leaf = (loaded(one) for one in (made.ca, made.certificate))
    leaf.verify_directly_issued_by(ca)
    assert leaf.not_valid_before_utc < ends - timedelta(days=3) < leaf.not_valid_after_utc


def test_no_leaf_outlives_its_ca(tmp_path: Path) -> None:
    made = demo_certificates(tmp_path)
    ends = loaded(made.ca).not_valid_after_utc
    demo_certificates(tmp_path, now=ends - timedelta(days=100))
    assert loaded(made.certificate).not_valid_after_utc == ends


def test_the_files_of_before_are_kept(tmp_path: Path) -> None:
    """They were trustme's, good until the year 3000."""
    made = DemoCertificates(tmp_path)
    authority = trustme.CA(organization_name="Homing demo CA", key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert("localhost", organization_name="Homing demo")
    content = (
        authority.cert_pem.bytes(),
        authority.private_key_pem.bytes(),
        leaf.cert_chain_pems[0].bytes(),
        leaf.private_key_pem.bytes(),
    )
    for path, data in zip(made.files(), content, strict=True):
        path.write_bytes(data)
    assert demo_certificates(tmp_path).replaced == ()
    assert tuple(path.read_bytes() for path in made.files()) == content
    made.certificate.unlink()
    demo_certificates(tmp_path)
    fresh = loaded(made.certificate)
    fresh.verify_directly_issued_by(load_pem_x509_certificate(content[0]))


def test_a_certificate_that_another_ca_signed_is_not_for_us_to_replace(tmp_path: Path) -> None:
    made, other = demo_certificates(tmp_path / "a"), demo_certificates(tmp_path / "b")
    for one in ("certificate", "key"):
        getattr(made, one).write_bytes(getattr(other, one).read_bytes())
    content = made.certificate.read_bytes()
    later = datetime.now(UTC) + timedelta(days=900)
    assert demo_certificates(made.folder, now=later).replaced == ()
    assert made.certificate.read_bytes() == content


@pytest.mark.parametrize("spoilt", range(4))
def test_rubbish_is_said_and_not_overwritten(tmp_path: Path, spoilt: int) -> None:
    path = demo_certificates(tmp_path).files()[spoilt]
    path.write_bytes(b"rubbish")
    with pytest.raises(OSError, match="not a certificate and its key") as refused:
        demo_certificates(tmp_path)
    assert path.name in str(refused.value)
    assert path.read_bytes() == b"rubbish"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-\n", "x" * 64 + ".test"])
def test_a_name_that_is_none_is_a_value_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        demo_certificates(tmp_path, [name])


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    folder = tmp_path / "demo"
    folder.mkdir()
    for name in ("ca.pem", ".ca.pem.new", ".server-key.pem.new"):
        (folder / name).symlink_to("../precious")
    with pytest.raises(OSError, match="symbolic links"):
        demo_certificates(folder)
    (folder / "ca.pem").unlink()
    demo_certificates(folder)
    assert (tmp_path / "precious").read_bytes() == b"precious"


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
