"""Homing, and Twisted's own TLS: a server reached by TCP or by hand-off, and a farm."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.tls_servers.running import Certificate, Running, wait_for_port, wait_until
from homing.farm.processes.local import running as running_farm
from homing.farm.processes.run import COMMAND
from homing.shared.addresses import split_host_and_port
from tests.processes import free_port, process

_HERE = Path(__file__).parent
_APP = "bench.tls_servers.answer:factory"


@contextmanager
def twisted(folder: Path, certificate: Certificate) -> Iterator[Running]:
    """Twisted's own TLS."""
    folder.mkdir()
    port, log = free_port(), folder / "log"
    script = str(_HERE / "stock_twisted.py")
    command = (sys.executable, script, str(port), str(certificate.chain), str(certificate.key))
    with process(*command, cwd=folder, out=log) as running:
        wait_for_port(port, running, log)
        yield Running(port, (running.pid,))


@contextmanager
def over_tcp(folder: Path, certificate: Certificate, app: str | None = _APP) -> Iterator[Running]:
    """A server of Homing's that listens at a TCP port, as behind a balancer that relays.

    `app` None is the demo.
    """
    folder.mkdir()
    port, log = free_port(), folder / "log"
    config = _farm_toml(folder, certificate, {"s1": f"tcp:127.0.0.1:{port}"}, app, "none")
    with process(*_server(config), cwd=folder, out=log) as running:
        wait_for_port(port, running, log)
        yield Running(port, (running.pid,))


@contextmanager
def by_hand_off(folder: Path, certificate: Certificate) -> Iterator[Running]:
    """A server of Homing's to which a process that does not count hands connections over."""
    folder.mkdir()
    port, log = free_port(), folder / "log"
    config = _farm_toml(folder, certificate, {"s1": "unix:s1.sock"}, _APP, "none")
    with process(*_server(config), cwd=folder, out=log) as running:
        wait_until(lambda: _takes_links(folder / "s1.sock"), running, log)
        feeding = (sys.executable, str(_HERE / "feeder.py"), str(port), str(folder / "s1.sock"))
        with process(*feeding, cwd=folder, out=folder / "feeder.log") as feeder:
            wait_for_port(port, feeder, folder / "feeder.log")
            yield Running(port, (running.pid,))


@contextmanager
def farm(folder: Path, certificate: Certificate, count: int = 4) -> Iterator[Running]:
    """`homing farm`: a balancer and its servers, with what is the default."""
    folder.mkdir()
    servers = {f"s{n}": f"unix:s{n}.sock" for n in range(1, count + 1)}
    config = _farm_toml(folder, certificate, servers, _APP, "sqlite:registry.sqlite")
    with running_farm(folder, ["--config", str(config)]) as local:
        yield Running(split_host_and_port(local.listen)[1], (local.process.pid,))


def _farm_toml(
    folder: Path, certificate: Certificate, servers: dict[str, str], app: str | None, registry: str
) -> Path:
    lines = [
        f'[farm]\nstate_dir = "."\nregistry = "{registry}"',
        '[balancer]\nlisten = ["tcp:0:interface=127.0.0.1"]',
        f'[tls]\ncertificate = "{certificate.chain}"\nkey = "{certificate.key}"',
    ]
    lines += [
        f'[[server]]\nname = "{name}"\naddress = "{address}"' + (f'\napp = "{app}"' if app else "")
        for name, address in servers.items()
    ]
    config = folder / "farm.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def _server(config: Path) -> tuple[str, ...]:
    return (*COMMAND, "server", "--config", str(config), "--name", "s1")


def _takes_links(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
