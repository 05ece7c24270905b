"""Opens the registry that farm.toml or a command line names."""

from __future__ import annotations

from pathlib import Path

import attrs

from homing.farm.config.registry_url import NONE, SQLITE
from homing.farm.config.sections import FarmConfig, FarmSection
from homing.server.ownership import must_be_ours_if_there
from homing.shared.errors import HomingError
from homing.shared.registry.etcd import EtcdRegistry, load_tls, members
from homing.shared.registry.interface import Registry
from homing.shared.registry.sqlite import SqliteRegistry
from homing.shared.registry.sqlite.database import Database
from homing.shared.registry.sqlite.registry import RegistryReactor


@attrs.frozen
class Place:
    """Where a registry is, and what it takes to speak with it."""

    url: str
    folder: Path
    """Where the path of an SQLite file begins."""
    farm: str = FarmSection().name
    """What the farm's keys begin with in etcd, which several farms can share."""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def file(self) -> Path | None:
        """The file of SQLite; None for etcd."""
        path = self.url.removeprefix(SQLITE)
        return None if path == self.url else self.folder.absolute() / path


def place_of(config: FarmConfig) -> Place | None:
    """The registry of a farm.toml; None where everything is given by hand."""
    section = config.farm
    if section.registry == NONE:
        return None
    ca, certificate, key = (
        None if path is None else config.folder / path
        for path in (section.registry_ca, section.registry_certificate, section.registry_key)
    )
    return Place(section.registry, config.state_dir, section.name, ca, certificate, key)


def open_registry(reactor: RegistryReactor, place: Place) -> Registry:
    """A registry, opened when it is first asked something.  Raises HomingError."""
    if place.file is not None:
        return SqliteRegistry(Database(place.file, must_be_ours_if_there), reactor)
    return _over_etcd(reactor, place)


def _over_etcd(reactor: RegistryReactor, place: Place) -> Registry:
    try:
        security = load_tls(place.ca, place.certificate, place.key)
    except OSError as error:
        raise HomingError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise HomingError(str(error)) from error
    prefix = f"{place.farm}/"
    return EtcdRegistry(members(place.url), reactor, security=security, prefix=prefix)
