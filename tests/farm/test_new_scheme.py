"""A scheme is one file and a line in the list of schemes: here is one more, and nothing else."""

from __future__ import annotations

from pathlib import Path
from secrets import randbelow

import attrs
import pytest

from homing.farm.commands import main
from homing.farm.config.farm_toml import load
from homing.farm.config.faults import InvalidConfig
from homing.farm.plan import plan
from homing.farm.processes.demo_farm import demo_farm
from homing.farm.processes.farm import Options
from homing.shared.by_function import fingerprint
from homing.shared.part import Part, Randbelow, random_bytes
from homing.shared.schemes import SCHEMES
from homing.shared.schemes.base import Request, Scheme
from tests.assigning import free, owner


@attrs.frozen
class Thirds:
    """The first byte, divided by as many owners as there are, says whose an identifier is."""

    owners: tuple[str, ...]
    tries: int = 1000

    def owner(self, identifier: bytes) -> str | None:
        return self.owners[identifier[0] * len(self.owners) // 256]

    def make(self, owner: str, randbelow: Randbelow) -> bytes | None:
        start = random_bytes(randbelow, 16)
        return start if self.owner(start) == owner else None

    def count(self, length: int) -> int:
        return (1 << 8 * length) // len(self.owners)

    def fingerprints(self, owner: str) -> tuple[bytes, ...]:
        return (fingerprint(*(one.encode() for one in self.owners)),)


def assign(request: Request) -> dict[str, Part]:
    return request.by_function("thirds", Thirds(request.owners))


@pytest.fixture(autouse=True)
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the scheme to the list."""
    monkeypatch.setitem(SCHEMES, "thirds", Scheme(name="thirds", assign=assign))


@pytest.fixture(name="path")
def path_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A farm of three servers under it."""
    monkeypatch.chdir(tmp_path)
    servers = (f'[[server]]\nname = "s{n}"\naddress = "unix:s{n}.sock"\n' for n in (1, 2, 3))
    path = Path("farm.toml")
    path.write_text('[session_ids]\nscheme = "thirds"\n' + "".join(servers))
    return path


def test_what_its_servers_draw_the_balancer_brings_back(path: Path) -> None:
    config = load(path)
    table = plan(config).table
    for name in ("s1", "s2", "s3"):
        for length in (16, 32):
            identifier = plan(config, name).records[name].draw(randbelow, free, length)
            assert owner(table, identifier) == name


def test_it_is_checked_and_explained(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(path)]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("by the scheme thirds") == 3
    assert "probability 2^0.0 at most" in shown.err.replace("-0.0", "0.0")
    assert main(["explain", "--config", str(path), "01" * 32]) == 0
    assert "by the scheme thirds\n214  forward to s1" in capsys.readouterr().out


def test_keys_that_say_nothing_under_it_are_refused(path: Path) -> None:
    path.write_text(path.read_text() + 'share = "1%"\n')
    with pytest.raises(InvalidConfig, match='share: is for scheme = "range"; this is "thirds"'):
        load(path)
    path.write_text(path.read_text().replace('"thirds"', '"fourths"'))
    with pytest.raises(InvalidConfig, match=r"'fourths' is unknown; allowed: range, .*, thirds"):
        load(path)


def test_a_demo_farm_can_have_it(tmp_path: Path) -> None:
    options = Options()
    options.parseOptions(["--scheme", "thirds", "--servers", "3", "--state-dir", str(tmp_path)])
    _, write = demo_farm(options)
    config = load(write())
    assert config.session_ids.scheme == "thirds"
    assert set(plan(config).records) == {"s1", "s2", "s3"}
