"""What others could read or change of a farm is refused or warned of, and no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.farm.config.farm_toml import load
from homing.farm.config.guard import demo, guard, remarks
from homing.shared.errors import HomingError
from tests.processes import homing

SERVER = '[[server]]\nname = "s1"\naddress = "unix:s1.sock"\n'


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A farm.toml."""
    path = folder / "farm.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("store", "mode", "warned"),
    [
        ("redis://user:s3cret@10.0.0.9", 0o644, True),
        ("rediss://:s3cret@10.0.0.9", 0o604, True),
        ("redis://user:s3cret@10.0.0.9", 0o640, False),  # a service's group
        ("redis://user:s3cret@10.0.0.9", 0o600, False),
        ("redis://10.0.0.9", 0o644, False),
        ("sqlite:sessions.sqlite", 0o644, False),
    ],
)
def test_a_password_that_others_can_read_is_warned_of_and_never_shown(
    tmp_path: Path, store: str, mode: int, warned: bool
) -> None:
    path = written(tmp_path, f'[session_ids]\nstore = "{store}"\n{SERVER}', mode)
    said = list(remarks(load(path)))
    assert len(said) == warned
    assert all(f"chmod 600 {path}" in one for one in said)
    assert "s3cret" not in "".join(said)


def test_the_warning_is_seen_in_check_and_at_every_start(tmp_path: Path) -> None:
    text = f'[session_ids]\nstore = "redis://:s3cret@10.0.0.9"\n{SERVER}'
    # So that it ends at once
    listen = '[balancer]\nworkers = 1\nlisten = ["tcp:0:interface=203.0.113.1"]\n'
    path = written(tmp_path, listen + text, 0o644)
    checked = homing("check", path, cwd=tmp_path)
    assert checked.status == 0
    started = homing("balancer", "--config", path, cwd=tmp_path)
    for said in (checked.err, started.said):
        assert f"{path} can be read by others" in said
    assert "s3cret" not in checked.said + started.said


def test_a_tls_key_that_anybody_can_read_is_warned_of(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    path = written(tmp_path, f'[tls]\ncertificate = "c.pem"\nkey = "key.pem"\n{SERVER}')
    for mode, warned in ((0o644, True), (0o640, False), (0o600, False)):
        key.chmod(mode)
        assert [f"chmod 600 {key}" in one for one in remarks(load(path))] == [True] * warned


def test_the_folder_of_a_socket_must_not_be_open_to_all(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    text = SERVER.replace("unix:", f"unix:{shared}/")
    config = load(written(tmp_path, text))
    guard(config)
    shared.chmod(0o777)
    with pytest.raises(HomingError, match=f"{shared} can be written by others"):
        guard(config)


def test_what_is_missing_is_made_only_where_it_is_needed(tmp_path: Path) -> None:
    config = load(written(tmp_path, SERVER))
    guard(config, make=False)
    assert [one.name for one in tmp_path.iterdir()] == ["farm.toml"]
    guard(config)
    assert config.state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["ca-key.pem", "server-key.pem"])
def test_a_demo_key_that_others_can_read_is_not_used(tmp_path: Path, name: str) -> None:
    config = load(written(tmp_path, SERVER))
    key = demo(config).folder / name
    demo(config)
    key.chmod(0o640)
    with pytest.raises(HomingError, match=f"{key} can be read by others: chmod 600"):
        demo(config)
