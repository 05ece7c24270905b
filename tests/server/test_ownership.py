"""What another user could have prepared, or could replace, is not used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from homing.server.ownership import owned_folder, safe_way, strangers
from homing.shared.errors import HomingError
from tests.strangers import as_root, give_away


@pytest.fixture(autouse=True, params=[0o022, 0])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def refusal(path: Path) -> str:
    with pytest.raises(HomingError) as refused:
        owned_folder(path)
    return str(refused.value)


def folder(path: Path, mode: int = 0o755) -> Path:
    """A folder with just this mode."""
    path.mkdir()
    path.chmod(mode)
    return path


def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    owned_folder(tmp_path / "a" / "b")
    assert {S_IMODE((tmp_path / one).stat().st_mode) for one in ("a", "a/b")} == {0o700}


def test_nothing_is_made_where_nothing_is_to_be(tmp_path: Path) -> None:
    owned_folder(tmp_path / "a" / "b", make=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o555])
def test_a_folder_that_only_we_can_write_is_taken(tmp_path: Path, mode: int) -> None:
    owned_folder(folder(tmp_path / "state", mode))


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_folder_that_anybody_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    state = folder(tmp_path / "state", mode)
    said = refusal(state)
    assert f"{state} can be written by others (mode {mode:o})" in said
    assert f"chmod go-w {state}" in said


@as_root
def test_a_folder_that_a_shared_group_can_write_is_refused_and_that_of_one_user_is_not(
    tmp_path: Path,
) -> None:
    state = folder(tmp_path / "state", 0o775)
    owned_folder(state)  # the group of root alone
    os.chown(state, 0, 65534)
    assert "can be written by others (mode 775)" in refusal(state)


def test_a_parent_in_which_others_can_rename_is_refused(tmp_path: Path) -> None:
    parent = folder(tmp_path / "parent", 0o777)
    assert f"{parent} can be written by others" in refusal(parent / "state")
    assert list(parent.iterdir()) == []
    (parent / "state").mkdir()
    assert f"{parent} can be written by others" in refusal(parent / "state")
    parent.chmod(0o1777)  # as /tmp is: sticky
    (parent / "state").chmod(0o755)
    owned_folder(parent / "state")


@as_root
def test_a_folder_of_another_user_is_refused_and_both_users_are_named(tmp_path: Path) -> None:
    state = folder(tmp_path / "state")
    give_away(state)
    assert f"{state} belongs to nobody, and this process is root's" in refusal(state)


@as_root
def test_what_another_user_made_in_a_folder_for_all_is_no_way(tmp_path: Path) -> None:
    shared = folder(tmp_path / "tmp", 0o1777)
    theirs = folder(shared / "theirs")
    give_away(theirs)
    assert f"{theirs} was made by nobody" in refusal(theirs / "state")
    assert list(theirs.iterdir()) == []


@as_root
def test_a_link_of_another_user_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to("real")
    owned_folder(link / "state")
    assert (tmp_path / "real" / "state").is_dir()
    give_away(link)
    assert f"{link} was made by nobody" in refusal(link / "state")


@as_root
def test_a_folder_in_another_users_home_is_warned_of(tmp_path: Path) -> None:
    home = folder(tmp_path / "home")
    give_away(home)
    owned_folder(home / "state")
    assert strangers(home / "state") == [
        f"{home / 'state'} can be replaced by nobody, to whom {home} belongs"
    ]
    assert strangers(tmp_path) == []


@as_root
def test_a_socket_that_another_user_put_into_a_folder_for_all_is_no_way(tmp_path: Path) -> None:
    shared = folder(tmp_path / "tmp", 0o1777)
    safe_way(shared / "s1.sock")
    (shared / "s1.sock").touch()
    safe_way(shared / "s1.sock")
    give_away(shared / "s1.sock")
    with pytest.raises(HomingError, match="was made by nobody"):
        safe_way(shared / "s1.sock")


def test_dots_and_links_are_walked_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True, mode=0o700)
    (tmp_path / "deep").chmod(0o700)
    (tmp_path / "link").symlink_to("deep/deeper")
    owned_folder(tmp_path / "link" / ".." / "state")
    assert (tmp_path / "deep" / "state").is_dir()


def test_links_that_lead_round_and_round_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        owned_folder(tmp_path / "a")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            owned_folder(path)
