"""The registry's certificates: private, kept, and good for what they are for only."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import Certificate, ExtendedKeyUsage, load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from homing.certs.issue import names_of
from homing.certs.registry import registry_certificates

MEMBERS = {"e1": ["127.0.0.1", "localhost"], "e2": ["10.0.0.8"]}


def loaded(path: Path) -> Certificate:
    return load_pem_x509_certificate(path.read_bytes())


def usages(path: Path) -> set[object]:
    return set(loaded(path).extensions.get_extension_for_class(ExtendedKeyUsage).value)


def test_members_are_servers_and_clients_and_the_farm_is_a_client_alone(tmp_path: Path) -> None:
    made = registry_certificates(tmp_path, MEMBERS)
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    ca = loaded(made.ca.certificate)
    assert usages(made.farm.certificate) == {client}
    for name, hosts in MEMBERS.items():
        files = made.members[name]
        assert usages(files.certificate) == {server, client}
        assert names_of(loaded(files.certificate)) == hosts
    names = set()
    for files in (made.farm, *made.members.values()):
        leaf = loaded(files.certificate)
        leaf.verify_directly_issued_by(ca)
        names.add(leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    assert names == {"homing-farm", "homing-registry-member"}


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    made = registry_certificates(tmp_path, MEMBERS)
    for path in made.files():
        is_key = b"PRIVATE KEY" in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if is_key else 0o644)


def test_what_is_there_is_kept_and_a_member_can_be_added(tmp_path: Path) -> None:
    before = registry_certificates(tmp_path, MEMBERS)
    content = {path: path.read_bytes() for path in before.files()}
    made = registry_certificates(tmp_path, {**MEMBERS, "e3": ["10.0.0.9"]})
    assert {path: path.read_bytes() for path in content} == content
    loaded(made.members["e3"].certificate).verify_directly_issued_by(loaded(made.ca.certificate))


def test_one_that_ends_is_replaced_for_the_names_it_had_and_the_ca_stays(tmp_path: Path) -> None:
    made = registry_certificates(tmp_path, MEMBERS)
    ca = made.ca.certificate.read_bytes()
    later = loaded(made.farm.certificate).not_valid_after_utc - timedelta(days=1)
    again = registry_certificates(tmp_path, {"e1": ["other"]}, later)
    assert len(again.replaced) == 2
    assert again.ca.certificate.read_bytes() == ca
    fresh = loaded(again.members["e1"].certificate)
    assert names_of(fresh) == MEMBERS["e1"]
    assert fresh.not_valid_after_utc > later + timedelta(days=600)


def test_a_ca_whose_key_is_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    made = registry_certificates(tmp_path, MEMBERS)
    ca = made.ca.certificate.read_bytes()
    made.ca.key.unlink()
    with pytest.raises(OSError, match=r"registry-ca-key\.pem"):
        registry_certificates(tmp_path, MEMBERS)
    assert made.ca.certificate.read_bytes() == ca
