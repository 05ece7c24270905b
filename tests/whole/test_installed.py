"""What is released: the wheel beside other people's modules, and the sdist unpacked."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.processes import LISTEN, process, ran
from tests.reactor import eventually

ROOT = Path(__file__).parents[2]
CLEAN = ("env", "-u", "PYTHONPATH")
"""Without it the code under test would be that of this folder."""
OTHERS = ("farm", "shared", "certs")
"""Packages of PyPI with the names of our rooms."""


def pip(python: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    """Install packages, and none that they need."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    command += ["--ignore-installed", *packages]  # what is linked may be Homing, too
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", name="environment")
def environment_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripts of a fresh environment with what Homing needs, and `OTHERS`."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    installed = pip(folder / "bin" / "python", *OTHERS)
    if installed.returncode:
        pytest.skip(f"no index that has {', '.join(OTHERS)}: {installed.stderr[-300:]}")
    return folder / "bin"


@pytest.fixture(scope="module", name="released")
def released_(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel made of it."""
    folder = tmp_path_factory.mktemp("dist")
    built = ran(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    assert built.status == 0, built.said
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def test_the_wheel_has_one_package_and_the_plugins(released: tuple[Path, Path]) -> None:
    names = {name for name in zipfile.ZipFile(released[1]).namelist() if ".dist-info/" not in name}
    assert {name for name in names if not name.startswith("homing/")} == {
        "twisted/plugins/homing_plugins.py"
    }
    assert "homing/py.typed" in names
    assert "homing/server/service.py" in names


def test_what_an_older_version_left_in_build_does_not_get_into_the_wheel(
    released: tuple[Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(released[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("homing-*")
    for name in ("server", "homing"):
        left = unpacked / "build" / "lib" / name / "left.py"
        left.parent.mkdir(parents=True)
        left.touch()
    built = ran(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, cwd=unpacked)
    assert built.status == 0, built.said
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "homing/__init__.py" in names
    assert not [name for name in names if name.endswith("left.py")]


def test_the_sdist_has_all_and_can_run_its_tests(
    released: tuple[Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(released[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    there = {path.name for path in unpacked.iterdir()}
    assert there >= {"docs", "tests", "bench", "CHANGELOG.md", "LICENSE", "README.md", "tox.ini"}
    assert not there & {*OTHERS, "server", "balancer"}
    assert (unpacked / "homing" / "server").is_dir()
    files = ("tests/test_imports.py", "tests/shared/test_addresses.py")
    said = ran(*CLEAN, sys.executable, "-m", "pytest", "-q", *files, cwd=unpacked)
    assert said.status == 0, said.said


def test_a_farm_runs_beside_what_has_the_names_of_our_rooms(
    released: tuple[Path, Path], environment: Path, tmp_path: Path
) -> None:
    installed = pip(environment / "python", str(released[1]))
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "shared").mkdir()
    for name in ("server.py", "farm.py", "homing.py", "shared/__init__.py"):
        (tmp_path / name).write_text("raise SystemExit('this is the user's own')\n")
    homing = (*CLEAN, str(environment / "homing"))
    farm = (*homing, "farm", "--listen", LISTEN, "--servers", "2")
    facts = tmp_path / "homing-state" / "farm.json"
    with process(*farm, cwd=tmp_path, out=tmp_path / "log"):
        eventually(facts.exists, within=40)
        there = (
            "--connect",
            json.loads(facts.read_text())["listen"],
            "--ca",
            "homing-state/ca.pem",
        )
        numbers = ("--clients", "2", "--rounds", "1", "--json", "out.json")
        said = ran(*homing, "bench", "hit-rate", *there, *numbers, cwd=tmp_path)
    assert said.status == 0, said.said
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(one["tls"], one["hit_rate"]) for one in results] == [("1.2", 100.0), ("1.3", 100.0)]
