"""The farm's secrets on disk: made once, private, changed without losing a session, never shown."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from stat import S_IMODE

import pytest

import homing
from homing.farm.config.keys import AESBlocks, Keys
from homing.shared.by_function import ByFunction
from homing.shared.errors import HomingError
from homing.shared.schemes.keyed import KeyedBlocks

Read = Callable[[Keys], object]
READS: dict[str, Read] = {
    "s1.seed": lambda keys: keys.seed("s1"),
    "g1.group": lambda keys: keys.group_key("g1"),
    "farm.key": lambda keys: keys.farm_ciphers(),
}
LENGTHS = {"s1.seed": 32, "g1.group": 32, "farm.key": 16}
EVERY = pytest.mark.parametrize("name", READS)


@pytest.fixture(name="keys")
def keys_(tmp_path: Path) -> Keys:
    """Secrets of a farm that has never run."""
    return Keys(tmp_path / "state" / "keys")


def read(keys: Keys, name: str) -> object:
    """What the file of that name holds."""
    return READS[name](keys)


def write(keys: Keys, name: str, content: bytes, mode: int = 0o600) -> Path:
    """A file as a user would copy it there."""
    keys.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = keys.folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def lines(keys: Keys) -> list[str]:
    """The keys of the farm, in hex."""
    return keys.farm_key.read_text().split()


def complaint(keys: Keys, name: str) -> str:
    """What is said, with all that a log would show of it."""
    with pytest.raises(HomingError) as refused:
        read(keys, name)
    return "".join(traceback.format_exception(refused.value)) + repr(refused.value)


class TestMaking:
    @pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
    def test_nobody_else_can_read_a_secret_or_list_the_folder(self, keys: Keys, umask: int) -> None:
        before = os.umask(umask)
        try:
            for name in READS:
                read(keys, name)
            keys.announce_farm_key()
            keys.use_announced_farm_key()
        finally:
            os.umask(before)
        assert S_IMODE(keys.folder.stat().st_mode) == 0o700
        assert sorted(one.name for one in keys.folder.iterdir()) == sorted(READS)
        assert {S_IMODE(one.stat().st_mode) for one in keys.folder.iterdir()} == {0o600}

    @EVERY
    def test_a_secret_is_made_once_and_read_ever_after(self, keys: Keys, name: str) -> None:
        read(keys, name)
        content = (keys.folder / name).read_bytes()
        read(keys, name)
        assert (keys.folder / name).read_bytes() == content
        assert len(bytes.fromhex(content.decode())) == LENGTHS[name]

    def test_every_server_group_and_farm_has_a_secret_of_its_own(
        self, keys: Keys, tmp_path: Path
    ) -> None:
        other = Keys(tmp_path / "other")
        secrets = {
            *(each.seed(server) for each in (keys, other) for server in ("s1", "s2")),
            *(each.group_key(group) for each in (keys, other) for group in ("s1", "g1")),
        }
        assert len(secrets) == 8
        blocks = {each.farm_ciphers()[0].encrypt(bytes(16)) for each in (keys, other)}
        assert len(blocks) == 2

    @EVERY
    def test_processes_that_start_at_once_agree_on_one_secret(self, keys: Keys, name: str) -> None:
        with_one = _at_once(keys.folder, name, processes=4)
        assert len(with_one) == 4
        assert len(set(with_one)) == 1
        assert [one.name for one in keys.folder.iterdir()] == [name], "scraps are left"

    def test_copied_files_make_another_machine_part_of_the_farm(
        self, keys: Keys, tmp_path: Path
    ) -> None:
        seed, cipher = keys.seed("s1"), keys.farm_ciphers()[0]
        other = Keys(tmp_path / "copied")
        for one in keys.folder.iterdir():
            write(other, one.name, one.read_bytes())
        assert other.seed("s1") == seed
        assert other.farm_ciphers()[0].encrypt(b"b" * 16) == cipher.encrypt(b"b" * 16)


_CHILD = """
import sys
from pathlib import Path
from homing.farm.config.keys import Keys
keys = Keys(Path(sys.argv[1]))
read = {"s1.seed": lambda: keys.seed("s1"), "g1.group": lambda: keys.group_key("g1"),
        "farm.key": lambda: keys.farm_ciphers()[0].encrypt(bytes(16))}[sys.argv[2]]
print("ready", flush=True)
sys.stdin.readline()
print(read().hex(), flush=True)
"""


def _at_once(folder: Path, name: str, processes: int) -> list[str]:
    """What processes read that wait for each other, then all make the secret."""
    environment = {**os.environ, "PYTHONPATH": str(Path(str(homing.__file__)).parents[1])}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            env=environment,
        )
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        return [child.communicate(timeout=30)[0].strip() for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()


class TestWrongContent:
    SECRET = "5ec2e7" * 20

    @EVERY
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n\n",
            SECRET.encode() + b"\n",
            SECRET[:30].encode(),
            SECRET[:31].encode() + b"x\n",
            b"5ec2e7 secret words\n",
            b"\xff5ec2e7\xfe\n",
            b"5ec2e7" + bytes(20),
            3 * (SECRET[:64].encode() + b"\n"),
        ],
        ids=lambda content: str(len(content)),
    )
    def test_it_is_named_without_being_shown(self, keys: Keys, name: str, content: bytes) -> None:
        path = write(keys, name, content)
        said = complaint(keys, name)
        assert str(path) in said
        assert "5ec2e7" not in said
        assert "secret words" not in said
        assert path.read_bytes() == content, "what the user has put there is overwritten"

    def test_the_line_that_is_wrong_is_named(self, keys: Keys) -> None:
        path = write(keys, "farm.key", b"00" * 16 + b"\n" + b"5ec2e7\n")
        said = complaint(keys, "farm.key")
        assert f"{path}, line 2: expected 16 bytes in hex" in said
        assert "5ec2e7" not in said

    @EVERY
    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
    def test_a_secret_that_others_can_read_is_refused(
        self, keys: Keys, name: str, mode: int
    ) -> None:
        path = write(keys, name, b"ab" * LENGTHS[name], mode)
        said = complaint(keys, name)
        assert f"chmod 600" in said  # noqa: F541
        assert str(path) in said
        assert "abab" not in said

    @EVERY
    def test_a_folder_in_its_place_is_named(self, keys: Keys, name: str) -> None:
        (keys.folder / name).mkdir(parents=True)
        assert str(keys.folder / name) in complaint(keys, name)

    @EVERY
    def test_a_file_in_the_place_of_the_folder_is_named(self, keys: Keys, name: str) -> None:
        keys.folder.parent.mkdir()
        keys.folder.write_text("not a folder")
        assert str(keys.folder) in complaint(keys, name)


class TestRotation:
    SERVERS = ("s1", "s2")

    def draw(self, keys: Keys, luck: Random) -> bytes:
        part = ByFunction("keyed", KeyedBlocks(self.SERVERS, keys.farm_ciphers()), "s1")
        return part.draw(luck.randrange, lambda identifier: False)

    def owner(self, keys: Keys, identifier: bytes) -> str | None:
        return KeyedBlocks(self.SERVERS, keys.farm_ciphers()).owner(identifier)

    def test_a_key_is_known_before_it_is_used_and_after(self, keys: Keys) -> None:
        luck = Random(1)
        keys.farm_ciphers()
        (first,) = lines(keys)
        old = self.draw(keys, luck)

        keys.announce_farm_key()
        current, announced = lines(keys)
        assert (current, len(announced)) == (first, 32)
        assert announced != first
        drawn_meanwhile = self.draw(keys, luck)

        keys.use_announced_farm_key()
        assert lines(keys) == [announced, first]
        new = self.draw(keys, luck)
        for identifier in (old, drawn_meanwhile, new):
            assert self.owner(keys, identifier) == "s1"
        only_new = KeyedBlocks(self.SERVERS, [AESBlocks(bytes.fromhex(announced))])
        assert [only_new.owner(one) for one in (old, drawn_meanwhile, new)] == [None, None, "s1"]

    def test_the_next_change_retires_the_oldest_key(self, keys: Keys) -> None:
        luck, made = Random(1), []
        keys.farm_ciphers()
        for _ in range(3):
            made.append(self.draw(keys, luck))
            keys.announce_farm_key()
            keys.use_announced_farm_key()
            assert len(lines(keys)) == 2
        made.append(self.draw(keys, luck))
        assert [self.owner(keys, one) for one in made] == [None, None, "s1", "s1"]

    def test_without_an_announcement_servers_keep_their_key(self, keys: Keys) -> None:
        keys.farm_ciphers()
        before = lines(keys)
        keys.use_announced_farm_key()
        assert lines(keys) == before

    @pytest.mark.parametrize("content", [None, b"", b"5ec2e7\n"])
    @pytest.mark.parametrize("step", ["announce_farm_key", "use_announced_farm_key"])
    def test_a_damaged_file_is_named_and_left_as_it_is(
        self, keys: Keys, step: str, content: bytes | None
    ) -> None:
        path = keys.farm_key
        if content is not None:
            write(keys, "farm.key", content)
        with pytest.raises(HomingError) as refused:
            getattr(keys, step)()
        assert str(path) in str(refused.value)
        assert "5ec2e7" not in str(refused.value)
        assert (path.read_bytes() if path.exists() else None) == content

    def test_a_reader_never_sees_half_a_change(self, keys: Keys) -> None:
        keys.farm_ciphers()
        inode = keys.farm_key.stat().st_ino
        with keys.farm_key.open() as open_before:
            keys.announce_farm_key()
            assert len(open_before.read().split()) == 1
        assert keys.farm_key.stat().st_ino != inode, "written in place"


def test_no_secret_shows_in_text(keys: Keys) -> None:
    seed, group, ciphers = keys.seed("s1"), keys.group_key("g1"), keys.farm_ciphers()
    told = repr(keys) + str(keys) + repr(ciphers) + str(ciphers[0]) + repr(vars(ciphers[0]))
    for secret in (seed, group, bytes.fromhex(lines(keys)[0])):
        for form in (secret.hex(), repr(secret)[2:-1]):
            assert form[:12] not in told
