"""The farm that options of homing-farm describe: its farm.toml, and its state folder, locked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from homing.farm.config.demo import MOST_SERVERS, write_demo
from homing.farm.config.farm_toml import load
from homing.farm.config.sections import RESUMPTION, FarmConfig
from homing.farm.config.values import Endpoint
from homing.farm.processes.lock import Lock
from homing.shared.errors import HomingError
from homing.shared.schemes import SCHEMES

Options = Mapping[str, Any]
"""What was given on the command line."""


def locked_farm(options: Options) -> tuple[Lock, FarmConfig]:
    """A farm whose state folder is ours now; that of a demo is written.

    Raises HomingError and OSError; when somebody else has the folder, it is as it was.
    """
    if options["config"] is not None:
        _no_demo(options)
        config = load(Path(options["config"]).absolute())
        return Lock(config.state_dir / "lock", say), config
    write = _demo_writer(options)
    lock = Lock(_demo_folder(options) / "lock", say)
    return lock, load(write())


def _no_demo(options: Options) -> None:
    """Raises HomingError for options that say what the farm.toml given should say."""
    demo = ("servers", "listen", "state-dir", "scheme", "resumption", "relay")
    given = [f"--{name}" for name in demo if options[name]]
    if given:
        raise HomingError(f"{', '.join(given)}: say this in {options['config']} instead")


def _demo_folder(options: Options) -> Path:
    return Path(options["state-dir"] or "homing-state").absolute()


def _demo_writer(options: Options) -> Callable[[], Path]:
    """What writes the farm.toml of a demo farm that the options describe.  Raises HomingError."""
    servers = options["servers"] or "4"
    if not servers.isdecimal() or not 0 < int(servers) <= MOST_SERVERS:
        raise HomingError(f"--servers {servers}: expected a number from 1 to {MOST_SERVERS}")
    scheme = options["scheme"] or next(iter(SCHEMES))
    if scheme not in SCHEMES:
        raise HomingError(f"--scheme {scheme}: expected one of {', '.join(SCHEMES)}")
    resumption = options["resumption"] or RESUMPTION[0]
    if resumption not in RESUMPTION:
        raise HomingError(f"--resumption {resumption}: expected one of {', '.join(RESUMPTION)}")
    try:
        listen = Endpoint.parse(options["listen"] or "tcp:8443:interface=127.0.0.1")
    except ValueError as error:
        raise HomingError(f"--listen {error}") from None
    relay = bool(options["relay"])
    return partial(
        write_demo,
        _demo_folder(options),
        int(servers),
        listen,
        scheme,
        relay,
        resumption=resumption,
    )


def say(words: str) -> None:
    """On standard error: nothing is logged yet."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201
