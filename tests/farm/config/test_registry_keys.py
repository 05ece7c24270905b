"""Where the farm's state is agreed on, how parts move and servers' weights, in farm.toml."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from homing.farm.config.farm_toml import load
from homing.farm.config.faults import InvalidConfig
from homing.farm.config.registry_url import is_encrypted, registry_url
from homing.farm.config.sections import FarmConfig
from homing.farm.registries import open_registry, place_of
from homing.shared.errors import HomingError

SERVER = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'
HTTPS = 'registry = "etcd:https://10.0.0.7:2379,https://10.0.0.8:2379"\n'
KEYS = 'registry_ca = "ca.pem"\nregistry_certificate = "c.pem"\nregistry_key = "k.pem"\n'

Read = Callable[[str], FarmConfig]


@pytest.fixture(name="read")
def read_(tmp_path: Path) -> Read:
    """Loads a farm.toml with that text in [farm]."""

    def read(text: str) -> FarmConfig:
        path = tmp_path / "farm.toml"
        path.write_text(f"[farm]\n{text}\n{SERVER}")
        return load(path)

    return read


def fault(read: Read, text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        read(text)
    (message,) = caught.value.messages
    return message.partition("farm.toml: ")[2]


@pytest.mark.parametrize(
    "url",
    [
        "none",
        "sqlite:registry.sqlite",
        "sqlite:/var/lib/homing/registry.sqlite",
        "etcd:https://10.0.0.7:2379",
        "etcd:https://etcd-1.example.org:2379,https://[2001:db8::1]:2379/",
        "etcd:http://127.0.0.1:2379,http://[::1]:2379,http://localhost:2379",
    ],
)
def test_a_registry_is_sqlite_etcd_or_none(url: str) -> None:
    assert registry_url(url) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", '\'\' is no registry; allowed: "sqlite:PATH"; "etcd:https://HOST:PORT"'),
        ("sqlite", "is no registry"),
        ("sqlite:", "is no registry"),
        ("sqlite:folder/", "is no registry"),
        ("sqlite:..", "is no registry"),
        ("redis://localhost", "is no registry"),
        ("None", "is no registry"),
        ("etcd:", "'' is not https://HOST:PORT; allowed:"),
        ("etcd:10.0.0.7:2379", "is not https://HOST:PORT"),
        ("etcd:https://10.0.0.7:2379,", "is not https://HOST:PORT"),
        ("etcd:https://10.0.0.7:99999", "out of range"),
        ("etcd:https://[::1:2379", "Invalid IPv6 URL"),
        ("etcd:https://10.0.0.7:2379/v3", "has more than https://HOST:PORT"),
        ("etcd:https://u:secret@10.0.0.7:2379", "by certificates, not by a password"),
        ("etcd:http://10.0.0.7:2379", "http is allowed to loopback addresses only"),
        ("etcd:https://a:1,http://b:1", "'http://b:1': http is allowed to loopback"),
    ],
)
def test_what_is_no_registry_is_said_with_what_is_allowed(url: str, words: str, read: Read) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        registry_url(url)
    assert "secret" not in str(caught.value)
    assert fault(read, f'registry = "{url}"').startswith("farm.registry: ")


def test_one_member_over_https_is_enough_to_need_certificates() -> None:
    assert is_encrypted("etcd:http://localhost:1,https://b:2")
    assert not is_encrypted("etcd:http://localhost:1")
    assert not is_encrypted("sqlite:x")


def test_certificates_that_cannot_be_used_are_named(read: Read, tmp_path: Path) -> None:
    at = place_of(read(HTTPS + KEYS))
    assert at is not None
    with pytest.raises(HomingError, match=f"cannot read {tmp_path}/ca.pem: No such file"):
        open_registry(Clock(), at)  # type: ignore[arg-type]
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(HomingError, match=r"ca.pem: not certificates in PEM"):
        open_registry(Clock(), at)  # type: ignore[arg-type]


def test_files_are_found_from_the_file_and_the_state_folder(read: Read, tmp_path: Path) -> None:
    at = place_of(read('state_dir = "state"\nregistry = "sqlite:r.sqlite"'))
    assert at is not None
    assert at.file == tmp_path / "state" / "r.sqlite"
    at = place_of(read(f'name = "shop"\n{HTTPS}{KEYS}'))
    assert at is not None
    assert (at.file, at.farm) == (None, "shop")
    assert (at.ca, at.key) == (tmp_path / "ca.pem", tmp_path / "k.pem")


def test_by_hand_there_is_no_registry(read: Read) -> None:
    config = read('registry = "none"')
    assert place_of(config) is None
    assert not config.has_registry


def test_etcd_over_https_needs_its_certificates(read: Read) -> None:
    assert fault(read, HTTPS + 'registry_ca = "ca.pem"') == (
        "farm: etcd over https needs registry_ca, registry_certificate, registry_key; without: "
        "registry_certificate, registry_key"
    )


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        ("none", "'none'"),
        ("sqlite:r", "'sqlite:r'"),
        ("etcd:http://[::1]:1", "'etcd:http://[::1]:1'"),
    ],
)
def test_certificates_without_https_are_a_contradiction(
    registry: str, words: str, read: Read
) -> None:
    text = f'registry = "{registry}"\nregistry_ca = "ca.pem"'
    assert fault(read, text) == f"farm: registry_ca: for etcd over https; registry is {words}"


def test_how_parts_move_and_weights_are_checked(read: Read) -> None:
    config = read('[session_ids]\nmoving = "scheduled"\n' + SERVER.replace("s1", "s2"))
    assert config.session_ids.moving == "scheduled"
    assert read("").session_ids.moving == "exceptions"
    assert read(SERVER.replace("s1", "s2") + "weight = 0.5\n").server[0].weight == 0.5
    words = "session_ids.moving: 'fast' is unknown; allowed: drain, exceptions, scheduled"
    assert fault(read, '[session_ids]\nmoving = "fast"\n') == words
    for weight in ("0", "-1", "inf"):
        found = fault(read, SERVER.replace("s1", "s2") + f"weight = {weight}\n")
        assert found.endswith("is not allowed; allowed: above 0")


def test_the_name_of_a_farm_is_spelled_as_servers_are(read: Read) -> None:
    assert read("").farm.name == "homing"
    assert "'a/b' is not a name" in fault(read, 'name = "a/b"')
