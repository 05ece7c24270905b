"""The farm's secrets on disk: the seeds of servers, the keys of the farm, the keys of groups.

Each is a file in the folder ``keys`` of the state folder, readable by its owner alone, and is made
when it is first needed.  All machines of a farm need the same files: copy them.  No message ever
shows a secret.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from homing.server.files import read, replace
from homing.server.ownership import owned_folder
from homing.shared.errors import HomingError
from homing.shared.schemes.base import SEED_LENGTH

_BLOCK_KEY_LENGTH = 16
_GROUP_KEY_LENGTH = 32
_MOST_KEYS = 2


@attrs.frozen
class Keys:
    """The secrets in `folder`."""

    folder: Path
    made_up: list[Path] | None = None
    """If given, nothing is written: missing keys are made up, and listed here."""

    @property
    def farm_key(self) -> Path:
        """One or two keys, a line each: servers draw with the first, the balancer knows both."""
        return self.folder / "farm.key"

    def seed(self, server: str) -> bytes:
        """The seed of one server.  Raises HomingError."""
        return self._one(f"{server}.seed", SEED_LENGTH)

    def group_key(self, group: str) -> bytes:
        """The key under which a group shares sessions.  Raises HomingError."""
        return self._one(f"{group}.group", _GROUP_KEY_LENGTH)

    def farm_ciphers(self) -> list[AESBlocks]:
        """The keys of the farm.  Raises HomingError."""
        return [AESBlocks(key) for key in self._all(self.farm_key, _BLOCK_KEY_LENGTH, _MOST_KEYS)]

    def announce_farm_key(self) -> None:
        """Add a new key, which the balancer must know before servers draw with it."""
        current, *_ = _read(self.farm_key, _BLOCK_KEY_LENGTH, _MOST_KEYS)
        _write(self.farm_key, [current, token_bytes(_BLOCK_KEY_LENGTH)])

    def withdraw_announced_farm_key(self) -> None:
        """Leave the present key alone in the file."""
        current, *_ = _read(self.farm_key, _BLOCK_KEY_LENGTH, _MOST_KEYS)
        _write(self.farm_key, [current])

    def use_announced_farm_key(self) -> None:
        """Put the announced key first, so that servers draw with it; the old one stays known."""
        current, *announced = _read(self.farm_key, _BLOCK_KEY_LENGTH, _MOST_KEYS)
        _write(self.farm_key, [*announced, current])

    def _one(self, name: str, length: int) -> bytes:
        return self._all(self.folder / name, length, 1)[0]

    def _all(self, path: Path, length: int, most: int) -> list[bytes]:
        if self.made_up is None:
            _make(path, length)
        elif _is_missing(path):
            self.made_up.append(path)
            return [token_bytes(length)]
        return _read(path, length, most)


class AESBlocks:
    """AES-128 under one key, block by block; its `repr` does not show the key."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(key), ECB())  # noqa: S305 - single blocks that are never the same
        self.encrypt = cipher.encryptor().update
        self.decrypt = cipher.decryptor().update


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError as error:
        raise HomingError(f"cannot read {path}: {error.strerror}") from error
    return False


def _make(path: Path, length: int) -> None:
    """Make a key file unless it is there; of several processes that try, one does."""
    try:
        owned_folder(path.parent)
    except OSError as error:
        raise HomingError(f"cannot make {path.parent}: {error.strerror}") from error
    if os.path.lexists(path):
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        replace(fresh, _lines([token_bytes(length)]))
        with suppress(FileExistsError):
            os.link(fresh, path)
    except OSError as error:
        raise HomingError(f"cannot make {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink()


def _lines(keys: list[bytes]) -> bytes:
    return "".join(f"{key.hex()}\n" for key in keys).encode()


def _write(path: Path, keys: list[bytes]) -> None:
    try:
        replace(path, _lines(keys))
    except OSError as error:
        raise HomingError(f"cannot write {path}: {error.strerror}") from error


def _read(path: Path, length: int, most: int) -> list[bytes]:
    """The keys in a file.  Raises HomingError that names the line, not what stands there."""
    try:
        lines = read(path, secret=True).decode("ascii").split()
    except OSError as error:
        raise HomingError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise HomingError(f"{path} is not text: expected {length} bytes in hex") from None
    if not 1 <= len(lines) <= most:
        raise HomingError(f"{path} holds {len(lines)} keys: expected 1 to {most}, a line each")
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = bytes.fromhex(line)
        except ValueError:
            key = b""
        if len(key) != length:
            raise HomingError(f"{path}, line {number}: expected {length} bytes in hex")
        keys.append(key)
    return keys
