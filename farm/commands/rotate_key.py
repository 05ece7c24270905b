"""homing rotate-key: a new key for a running farm, without losing a session."""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path

from homing.farm.commands import parsing
from homing.farm.config.farm_toml import load
from homing.farm.config.keys import Keys
from homing.farm.processes.key_watch import EVERY
from homing.farm.processes.lock import Lock
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES


def add(commands: parsing.Commands) -> None:
    """Add the command."""
    command = parsing.add(
        commands,
        "rotate-key",
        "give a running farm a new key, if its scheme has one",
        "  homing rotate-key --config farm.toml",
        run,
    )
    command.add_argument("--config", required=True, type=Path, metavar="farm.toml")
    command.add_argument(
        "--force",
        action="store_true",
        help="also while sessions under the key before the present one may still live",
    )


def run(options: argparse.Namespace) -> int:
    """The balancer learns the new key first; then the servers draw with it."""
    config = load(options.config)
    scheme = SCHEMES[config.session_ids.scheme]
    if not scheme.key_rotates:
        wanted = " or ".join(f'"{one.name}"' for one in SCHEMES.values() if one.key_rotates)
        raise HomingError(f'{config.path}: the scheme is "{scheme.name}", not {wanted}')
    keys = Keys(config.state_dir / "keys")
    keys.farm_ciphers()  # there must be one to go on from
    out = parsing.stderr()
    lock = Lock(keys.folder / "farm.lock", waits=partial(out.print, soft_wrap=True))
    try:
        if not options.force:
            _check_age(keys, config.session_ids.lifetime)
        _rotate(keys)
    finally:
        os.close(lock.descriptor)
    out.print("servers draw with the new key; the one before stays known")
    return 0


def _check_age(keys: Keys, lifetime: int) -> None:
    """Raises HomingError when sessions may live under a key that would be dropped."""
    age = time.time() - keys.farm_key.stat().st_mtime
    if len(keys.farm_ciphers()) > 1 and age < lifetime:
        raise HomingError(
            f"the last change of keys was {age:.0f} s ago, and sessions live for {lifetime} s: "
            "those under the key before would be lost; wait, or use --force"
        )


def _rotate(keys: Keys) -> None:
    try:
        keys.announce_farm_key()
        time.sleep(3 * EVERY)  # all processes have looked by then
    except (KeyboardInterrupt, SystemExit):
        keys.withdraw_announced_farm_key()
        raise
    keys.use_announced_farm_key()
