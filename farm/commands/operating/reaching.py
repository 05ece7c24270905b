"""How a command reaches a farm's registry: its options, and a reactor that runs for it."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from homing.farm.commands import parsing
from homing.farm.config.farm_toml import load
from homing.farm.config.registry_url import NONE, is_encrypted, registry_url
from homing.farm.registries import Place, open_registry, place_of
from homing.shared.errors import HomingError
from homing.shared.registry.interface import Registry

DEFAULT_FILES = (Path("farm.toml"), Path("homing-state/farm.toml"))

_T = TypeVar("_T")

Work = Callable[[Any, Registry], Coroutine[Any, Any, _T]]
"""Given a reactor and a registry, does what was asked."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say which farm."""
    where = command.add_argument_group("which farm")
    files = ", else ".join(f"./{one}" for one in DEFAULT_FILES)
    where.add_argument("--config", "-c", type=Path, metavar="FILE", help=f"its farm.toml [{files}]")
    where.add_argument("--registry", metavar="URL", help="its registry: then no file is needed")
    for name, what in (("ca", "CA"), ("certificate", "our certificate"), ("key", "its key")):
        where.add_argument(
            f"--registry-{name}", type=Path, metavar="FILE", help=f"with --registry: {what}"
        )
    where.add_argument("--farm", metavar="NAME", help="with --registry in etcd: the farm's name")


def place(options: argparse.Namespace) -> Place:
    """The registry that the options name.  Raises HomingError, InvalidArgument among them."""
    found = _given(options) if options.registry is not None else _of_file(options.config)
    if found.file is not None and not found.file.exists():
        raise HomingError(f"there is no registry at {found.file}: has the farm been started?")
    return found


def config_path(given: Path | None) -> Path:
    """The farm.toml that was given, or else one that lies here.  Raises InvalidArgument."""
    path = given or next((one for one in DEFAULT_FILES if one.exists()), None)
    if path is None:
        raise parsing.InvalidArgument(
            "--config", f"there is no {' nor '.join(map(str, DEFAULT_FILES))}: say which farm"
        )
    return path


def _of_file(given: Path | None) -> Place:
    path = config_path(given)
    found = place_of(load(path))
    if found is None:
        raise HomingError(
            f'{path}: registry = "none": this farm is configured by hand; change the file and '
            "start it again"
        )
    return found


def _given(options: argparse.Namespace) -> Place:
    try:
        url = registry_url(options.registry)
    except ValueError as error:
        raise parsing.InvalidArgument("--registry", str(error)) from None
    if url == NONE:
        raise parsing.InvalidArgument("--registry", "none: there is nothing to ask")
    files = (options.registry_ca, options.registry_certificate, options.registry_key)
    if is_encrypted(url) and None in files:
        raise parsing.InvalidArgument(
            "--registry", "etcd over https needs --registry-ca, -certificate and -key"
        )
    farm = {} if options.farm is None else {"farm": options.farm}
    return Place(url, Path(), ca=files[0], certificate=files[1], key=files[2], **farm)


def reach(options: argparse.Namespace, work: Work[_T]) -> _T:
    """What `work` returns, on the farm that the options name.  Raises as `reach_at` does."""
    return reach_at(place(options), work)


def reach_at(at: Place, work: Work[_T]) -> _T:
    """What `work` returns, done in a reactor that runs for it alone, once a process.

    Raises what it raises; KeyboardInterrupt and SystemExit where a signal ended it.
    """
    from twisted.internet import reactor as installed  # not before: it would be made for --help

    reactor: Any = installed
    outcome: list[_T] = []
    errors: list[BaseException] = []

    async def run() -> None:
        try:
            registry = open_registry(reactor, at)
            try:
                outcome.append(await work(reactor, registry))
            finally:
                await registry.close()
        except BaseException as error:  # a signal's, too: it is raised again when all has ended
            errors.append(error)
        finally:
            reactor.stop()

    def begin() -> None:
        doing = Deferred.fromCoroutine(run())

        def end(error: BaseException, *_: object) -> None:
            errors.append(error)
            reactor.callFromThread(doing.cancel)

        signal.signal(signal.SIGINT, partial(end, KeyboardInterrupt()))
        signal.signal(signal.SIGTERM, partial(end, SystemExit(128 + signal.SIGTERM)))

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reactor.callWhenRunning(begin)
    try:
        reactor.run(installSignalHandlers=False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if errors:
        raise errors[0]
    return outcome[0]
