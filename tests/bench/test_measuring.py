"""What the benchmarks print is what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.measuring.cpu import cpu_of, machine_cpu, memory_of
from bench.measuring.figures import Figure, short, show, write_json
from bench.measuring.picture import bars
from bench.measuring.rounds import Sample, in_turn, middle, percentiles
from bench.measuring.versions import heading, program

FIGURES = [
    Figure("hand-off ÷ HAProxy", 26.0, 67.0, "us", 0.45, 0.30),
    Figure("relay ÷ HAProxy", 526.0, 67.0, "us", 2.8),
    Figure("memory over none", 0.0, 208.0, "B", 0.0, 0.0),
    Figure("<nothing to compare>", 1.0, 0.0, "us"),
]


def sample(cpu: float, connections: int = 1) -> Sample:
    return Sample(connections=connections, cpu_process=cpu, cpu_machine=2 * cpu, elapsed=4.0)


def test_contestants_take_turns_and_another_one_begins_each_round() -> None:
    turns: list[str] = []

    def contestant(name: str) -> Sample:
        turns.append(name)
        return sample(len(turns))

    names = ("a", "b", "c")
    heard: list[str] = []
    contestants = {name: lambda name=name: contestant(name) for name in names}
    samples = in_turn(contestants, 4, heard.append)
    assert "".join(turns) == "".join(heard) == "abcbcacababc"
    assert {name: len(each) for name, each in samples.items()} == {"a": 4, "b": 4, "c": 4}
    assert middle(samples["a"], lambda one: one.cpu_process) == (6 + 8) / 2


def test_a_sample_counts_by_connection_and_second() -> None:
    one = sample(1.0, 100)
    assert (one.cpu, one.machine, one.rate) == (0.01, 0.02, 25.0)


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [([], (0.0, 0.0)), ([3.0], (3.0, 3.0)), (list(range(100, -1, -1)), (50, 99))],
)
def test_percentiles(latencies: list[float], expected: tuple[float, float]) -> None:
    assert percentiles(latencies) == expected


def test_ratios_and_whether_they_are_as_asked() -> None:
    assert [one.is_met for one in FIGURES] == [True, False, True, None]
    rate = Figure("rate", 94.6, 100.0, "/s", 0.95, more_is_better=True)
    assert (rate.ratio, rate.is_met) == (0.946, True)


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (0.456, "0.46"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_figures_are_short(number: float | None, text: str) -> None:
    assert short(number) == text


def test_programs_read_a_list_of_figures(tmp_path: Path) -> None:
    write_json(FIGURES, tmp_path / "figures.json")
    first, *_, last = json.loads((tmp_path / "figures.json").read_text())
    assert first == {
        "figure": "hand-off ÷ HAProxy",
        "ours": 26.0,
        "peer": 67.0,
        "ratio": 26 / 67,
        "unit": "us",
        "asked": 0.45,
        "dream": 0.30,
    }
    assert last["ratio"] is None


def test_people_see_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    show(FIGURES, "all of them")
    said = capsys.readouterr().out
    assert all(one.figure in said for one in FIGURES)
    assert "0.39" in said
    assert "7.85" in said


def test_the_picture_is_svg_with_every_figure() -> None:
    text = bars(FIGURES, "Ratios & aims", "measured today")
    ElementTree.fromstring(text)
    assert "&lt;nothing to compare&gt;" in text


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child has burnt a tenth of a second and holds 30 MB, and waits."""
    burn = "import time, sys; a = bytearray(b'x') * 30_000_000\nwhile time.process_time() < 0.1: 0"
    child = f"{burn}\nprint(flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.communicate()


def test_cpu_and_memory_of_a_process_are_its_childrens_too(
    burner: subprocess.Popen[bytes],
) -> None:
    assert 0.09 < cpu_of([burner.pid]) <= machine_cpu()
    assert memory_of([burner.pid]) > 30_000_000


def test_a_process_that_is_gone_used_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert cpu_of([process.pid]) == 0


def test_versions_are_said_and_what_is_missing_to_install() -> None:
    assert all(name in heading() for name in ("Python", "Twisted", "pyOpenSSL", "OpenSSL"))
    assert os.access(program("sh"), os.X_OK)
    with pytest.raises(SystemExit, match="apt install no-such-program"):
        program("no-such-program")
