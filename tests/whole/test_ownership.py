"""Another user of this machine can neither have the farm write, serve or hand out anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from homing.certs.demo import demo_certificates
from homing.farm.config.keys import Keys
from homing.farm.processes.run import COMMAND
from homing.shared.fingerprint import DIGEST_LENGTH
from homing.shared.handoff import greeting
from tests.processes import (
    LISTEN,
    Ran,
    config_of,
    demo_farm,
    free_port,
    homing,
    listens,
    local_servers,
    process,
)
from tests.reactor import eventually
from tests.strangers import NOBODY, as_root, give_away, listener
from tests.whole.clients import context, visit

pytestmark = as_root

WRITTEN = ("farm.toml", "farm.json", "ca.pem", "ca-key.pem", "server.pem", "server-key.pem")


def start(state: Path) -> Ran:
    """Start a farm that must not start."""
    options = ("--listen", LISTEN, "--state-dir", state, "--scheme", "keyed", "--servers", "1")
    return homing("farm", *options, cwd=state.parent)


def links_to(target: Path, state: Path, names: tuple[str, ...]) -> None:
    """What another user puts in our way."""
    for name in names:
        (state / name).parent.mkdir(mode=0o755, exist_ok=True)
        (state / name).symlink_to(target)
        (state / name).with_name(f".{(state / name).name}.new").symlink_to(target)


def test_a_folder_that_another_user_prepared_is_refused_and_nothing_behind_it_is_touched(
    tmp_path: Path,
) -> None:
    target, state = tmp_path / "precious", tmp_path / "state"
    target.write_text("root's own")
    state.mkdir(mode=0o777)
    links_to(target, state, (*WRITTEN, "keys/farm.key"))
    before = sorted(state.rglob("*"))
    give_away(state, *before)
    ran = start(state)
    assert ran.status == 2
    (fault,) = ran.err.splitlines()
    assert f"{state} belongs to nobody, and this process is root's" in fault
    assert target.read_text() == "root's own"
    assert sorted(state.rglob("*")) == before


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_anybody_can_write_is_refused_by_all_that_use_it(
    tmp_path: Path, mode: int
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    config = config_of(state, local_servers("s1"))
    state.chmod(mode)
    for ran in (
        start(state),
        homing("balancer", *config, cwd=tmp_path),
        homing("server", *config, "--name", "s1", cwd=tmp_path),
    ):
        assert ran.status == 2
        assert f"{state} can be written by others (mode {mode:o})" in ran.err
    assert [one.name for one in state.iterdir()] == ["farm.toml"]


def link_elsewhere(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def give_it_away(path: Path, elsewhere: Path) -> None:
    give_away(path)


@pytest.mark.parametrize("name", ["keys/farm.key", "server-key.pem", "ca-key.pem"])
@pytest.mark.parametrize("spoil", [link_elsewhere, give_it_away])
def test_a_key_that_another_user_could_know_is_not_served(
    tmp_path: Path, name: str, spoil: Callable[[Path, Path], None]
) -> None:
    state = tmp_path / "state"
    demo_certificates(state)
    state.chmod(0o755)
    Keys(state / "keys").farm_ciphers()
    spoil(state / name, tmp_path / "elsewhere")
    ran = start(state)
    assert ran.status == 2
    assert str(state / name) in ran.err
    assert "is a symbolic link" in ran.err or "belongs to nobody" in ran.err


def test_a_farm_that_finds_links_where_it_writes_puts_files_there(tmp_path: Path) -> None:
    target, state = tmp_path / "precious", tmp_path / "state"
    target.write_text("root's own")
    state.mkdir(mode=0o700)
    links_to(target, state, ("farm.toml", "farm.json", "farm.log"))
    with demo_farm(state, "--servers", "1") as farm:
        assert visit(farm.listen, context(farm.ca, "TLSv1.3")).answer["server"] == "s1"
        assert not any((state / name).is_symlink() for name in ("farm.toml", "farm.json"))
    assert target.read_text() == "root's own"


def test_another_users_socket_gets_no_client_and_the_next_server_serves_all(
    tmp_path: Path,
) -> None:
    port = free_port()
    with TemporaryDirectory() as name:  # where the other user can go, too
        shared = Path(name)
        shared.chmod(0o1777)
        servers = "".join(
            f'[[server]]\nname = "{name}"\naddress = "unix:{path}"\n'
            for name, path in (("s1", "s1.sock"), ("s2", shared / "s2.sock"))
        )
        config = config_of(tmp_path, servers, f"tcp:{port}:interface=127.0.0.1")
        with (
            process(*COMMAND, "server", *config, "--name", "s1", cwd=tmp_path),
            process(*COMMAND, "balancer", *config, cwd=tmp_path),
        ):
            eventually(lambda: listens(port) and (tmp_path / "s1.sock").exists())
            thief = listener(shared / "s2.sock", greeting(0, bytes(DIGEST_LENGTH)))
            try:
                assert thief.stdout
                assert thief.stdout.readline() == "linked\n"  # the balancer looks who it is
                client = context(tmp_path / "ca.pem", "TLSv1.3")
                seen = [visit(f"127.0.0.1:{port}", client).answer["server"] for _ in range(8)]
            finally:
                thief.kill()
                told, _ = thief.communicate()
            assert seen == ["s1"] * 8
            assert "stolen" not in told
        said = "".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert said.count(f"user {NOBODY} listens at {shared / 's2.sock'} and gets no clients") == 1
