"""Processes without a certificate of the registry's CA: they are refused, and change nothing."""

from __future__ import annotations

from pathlib import Path

import attrs

from homing.certs.registry import RegistryCertificates, registry_certificates
from homing.farm.processes.run import COMMAND
from homing.farm.registries import Place
from tests.etcd_process import EtcdProcess, fast_folder, needs_etcd
from tests.processes import config_of, homing, local_servers, process
from tests.reactor import HOST, eventually
from tests.shared.registry.etcd.cluster import HOSTS, context, options
from tests.whole.registered import Registered


def in_etcd(folder: Path, url: str, made: RegistryCertificates) -> list[str]:
    """The arguments of processes that have these certificates."""
    folder.mkdir()
    arguments = config_of(folder, local_servers("s1"), registry=url)
    file = folder / "farm.toml"
    keys = {
        "registry_ca": made.ca.certificate,
        "registry_certificate": made.farm.certificate,
        "registry_key": made.farm.key,
    }
    lines = "".join(f'{key}="{value}"\n' for key, value in keys.items())
    file.write_text(file.read_text().replace("[farm]\n", f"[farm]\n{lines}"))
    return arguments


@needs_etcd
def test_processes_with_another_farms_certificate_are_refused_and_have_no_effect(
    tmp_path: Path,
) -> None:
    with fast_folder() as folder:
        made = registry_certificates(folder / "certs", {"e1": HOSTS})
        others = registry_certificates(tmp_path / "others", {"e1": HOSTS})
        etcd = EtcdProcess(folder, "e1", options(made, made.members["e1"]), context(made))
        etcd.start()
        try:
            eventually(etcd.works, "etcd works")
            url = f"etcd:https://{HOST}:{etcd.port}"
            place = Place(
                url,
                tmp_path,
                ca=made.ca.certificate,
                certificate=made.farm.certificate,
                key=made.farm.key,
            )
            strangers = attrs.evolve(made, farm=others.farm)
            _refused(in_etcd(tmp_path / "strange", url, strangers), tmp_path)
            assert not Registered(place).batch().puts
            ours = in_etcd(tmp_path / "ours", url, made)
            command = [*COMMAND, "server", *ours, "--name", "s1"]
            with process(*command, cwd=tmp_path):
                Registered(place).eventually(lambda view: "s1" in view.servers)
        finally:
            etcd.kill()


def _refused(arguments: list[str], folder: Path) -> None:
    """A server, a balancer and a command are told why."""
    logs = {name: folder / f"{name}.log" for name in ("server", "balancer")}
    server = [*COMMAND, "server", *arguments, "--name", "s1"]
    balancer = [*COMMAND, "balancer", *arguments]
    with process(*server, cwd=folder, out=logs["server"]):
        with process(*balancer, cwd=folder, out=logs["balancer"]):
            status = homing("status", *arguments, cwd=folder)
            assert status.status == 1
            assert "certificate" in status.err
            for log in logs.values():
                eventually(lambda log=log: "certificate" in log.read_text())  # type: ignore[misc]
    for log in logs.values():
        assert "Traceback" not in log.read_text()
