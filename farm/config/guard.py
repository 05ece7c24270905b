"""Files and folders of a farm that other users can read or change: refused, or warned about."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from twisted.logger import Logger

from homing.certs.demo import DemoCertificates, demo_certificates
from homing.farm.config.sections import FarmConfig
from homing.server import files
from homing.server.ownership import owned_folder, safe_way, strangers

_log = Logger()


def guard(config: FarmConfig, make: bool = True) -> None:
    """Check that no other user can change the state folder and the servers' sockets.

    Call it before anything is used there.  With `make`, a missing folder is made.  Raises
    HomingError, OSError.
    """
    owned_folder(config.state_dir, make)
    for server in config.server:
        if server.address.path is not None:
            safe_way(config.socket_path(server.address))


def demo(config: FarmConfig) -> DemoCertificates:
    """The farm's demo certificates, made if missing; files of others are refused.

    Raises HomingError, OSError.
    """
    there = DemoCertificates(config.state_dir)
    owned_folder(there.folder)
    for path in there.files():
        if path.exists() or path.is_symlink():
            files.read(path, secret=path in (there.key, there.ca_key))
    made = demo_certificates(config.state_dir)
    for words in made.replaced:
        _log.warn("{words}: there is a new one now", words=words)
    return made


def remarks(config: FarmConfig) -> Iterator[str]:
    """Warnings: a message for each thing that is unsafe, but not refused."""
    if urlsplit(config.session_ids.store).password and _others_may_read(config.path):
        yield (
            f"{config.path} can be read by others, and session_ids.store has a password in it: "
            f"chmod 600 {config.path}"
        )
    if config.tls.key is not None and _others_may_read(config.folder / config.tls.key):
        key = config.folder / config.tls.key
        yield f"tls.key: {key} can be read by others: chmod 600 {key}"
    yield from strangers(config.state_dir)


def _others_may_read(path: Path) -> bool:
    """Whether users outside the file's group may read it; services get keys through a group."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # whoever reads it will say so
