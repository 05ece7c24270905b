"""The log of a farm from its first start to its end, as people and as machines read it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

from homing.farm.commands.command_line import parser
from homing.farm.processes.local import LocalFarm
from tests.processes import demo_farm, kill, pid_of
from tests.reactor import eventually
from tests.whole.clients import context, visit

NAMES = ("s1", "s2", "s3", "s4")
LINE = re.compile(r"(\d\d:\d\d:\d\d (\w+) +| {19})(?:(warn|error|critical): )?(.*)")


@attrs.frozen
class Said:
    """One line that people read."""

    process: str
    level: str
    text: str


def read(farm: LocalFarm) -> list[Said]:
    """The log so far."""
    lines: list[Said] = []
    for line in farm.log.read_text().splitlines():
        found = LINE.fullmatch(line)
        assert found, line
        lines.append(Said(found[2] or lines[-1].process, found[3] or "", found[4]))
    return lines


def events(farm: LocalFarm) -> list[dict[str, Any]]:
    """What machines read."""
    return [json.loads(line) for line in (farm.state_dir / "log.json").read_text().splitlines()]


@pytest.fixture(scope="module", name="story")
def story_(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalFarm, list[Said]]:
    """A farm that starts, is visited twice by one client, loses a server, and has ended."""
    folder = tmp_path_factory.mktemp("story")
    with demo_farm(folder, "--log-json", str(folder / "log.json")) as farm:
        eventually(lambda: any("browser" in one.text for one in read(farm)))
        clients = context(farm.ca, "TLSv1.3")
        first = visit(farm.listen, clients)
        visit(farm.listen, clients, first.session)
        eventually(lambda: sum("TLSv1.3" in one.text for one in read(farm)) == 2)
    return farm, read(farm)


def test_what_stands_before_ready_fits_a_glance(story: tuple[LocalFarm, list[Said]]) -> None:
    _, lines = story
    (ready,) = [number for number, one in enumerate(lines) if one.text.startswith("homing-farm")]
    assert ready <= 10
    servers = [one for one in lines[:ready] if one.process != "balancer"]
    assert sorted((one.process, one.text.partition(" at ")[0]) for one in servers) == [
        (name, f"{name} takes connections") for name in NAMES
    ]
    balancer = [one.text for one in lines[:ready] if one.process == "balancer"]
    balancer.remove("balancer-1 manages the farm")
    listens, *late = balancer
    said = re.fullmatch(
        r"listens at 127\.0\.0\.1:\d+; (\d) of 4 servers are up.*; table 130 has 4 entries", listens
    )
    assert said, listens
    assert len(late) == 4 - int(said[1])  # on a slow machine


def test_the_ready_line_says_what_to_try_and_all_of_it_works(tmp_path: Path) -> None:
    with demo_farm(tmp_path, "--servers", "1") as farm:
        eventually(lambda: any("browser" in one.text for one in read(farm)))
        where = f"localhost:{farm.listen.rpartition(':')[2]}"
        ready, curl, bench, page = (one.text.strip() for one in read(farm)[-4:])
        assert f"https://{where}/ with 1 server, " in ready
        assert page.startswith(f"try: https://{where}/ in a browser that trusts ")
        command = shlex.split(curl.removeprefix("try: "))
        said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
        answers = [json.loads(line) for line in said.stdout.splitlines()]
        assert [answer["resumed"] for answer in answers] == [False, True, True], said
        hit_rate = parser().parse_args(shlex.split(bench.removeprefix("try: homing ")))
        assert (hit_rate.connect, hit_rate.ca) == (where, farm.ca)


def test_every_connection_has_one_line_that_says_who_where_and_why(
    story: tuple[LocalFarm, list[Said]],
) -> None:
    _, lines = story
    new, back = [one for one in lines if "TLSv1.3" in one.text]
    assert new.process == back.process in NAMES
    assert re.fullmatch(r"127\.0\.0\.1:\d+ TLSv1\.3 new session: it brought nothing", new.text)
    assert re.fullmatch(r"127\.0\.0\.1:\d+ TLSv1\.3 resumed by psk [0-9a-f]{16}", back.text)


def test_a_clean_stop_warns_of_nothing(story: tuple[LocalFarm, list[Said]]) -> None:
    _, lines = story
    assert [one for one in lines if one.level] == []
    assert lines[-1] == Said("farm", "", "stops; open connections get a few seconds to end")


def test_machines_read_the_same_with_every_fact_by_its_name(
    story: tuple[LocalFarm, list[Said]],
) -> None:
    farm, lines = story
    assert (farm.state_dir / "log.json").stat().st_mode & 0o777 == 0o600
    said = events(farm)
    firsts = [one.text for one in lines if not one.text.startswith("  try:")]
    assert [one["text"].partition("\n")[0] for one in said] == firsts
    assert {one["level"] for one in said} == {"info"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"]) for one in said)
    new, back = [one for one in said if "resumed" in one]
    assert (new["resumed"], new["carrier"], new["reason"]) == (False, None, "it brought nothing")
    assert (back["resumed"], back["carrier"], back["reason"]) == (True, "psk", None)
    assert back["identifier"].startswith("484f4d45")
    assert back["server"] == back["process"] in NAMES
    assert back["client"].startswith("127.0.0.1:")


def test_what_goes_wrong_in_a_child_keeps_its_level_and_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(
        "import os\n"
        "from twisted.internet.protocol import Factory, Protocol\n"
        "class Broken(Protocol):\n"
        "    def dataReceived(self, data):\n"
        "        os.write(2, b'a library says so\\n')\n"
        "        raise ZeroDivisionError('as it must')\n"
        "factory = Factory.forProtocol(Broken)\n"
    )
    options = ["--app", "broken:factory", "--log-json", str(tmp_path / "log.json")]
    monkeypatch.chdir(tmp_path)
    with demo_farm(tmp_path, "--servers", "1", *options) as farm:
        with pytest.raises((OSError, AssertionError)):
            visit(farm.listen, context(farm.ca, "TLSv1.3"))
        eventually(lambda: {"critical", "warn"} <= {one["level"] for one in events(farm)})
    said = events(farm)
    (defect,) = [one for one in said if one["level"] == "critical"]
    assert defect["process"] == "s1"
    assert defect["text"].endswith("builtins.ZeroDivisionError: as it must")
    (library,) = [one for one in said if one["text"] == "a library says so"]
    assert (library["process"], library["level"]) == ("s1", "warn")


def test_a_server_that_dies_is_worth_a_warning_and_so_is_its_coming_back(
    tmp_path: Path,
) -> None:
    warned = [
        Said("farm", "warn", "s2 ended (SIGKILL); it starts again in 0.2 s"),
        Said("balancer", "warn", "s2 is down"),
    ]
    with demo_farm(tmp_path, "--servers", "2") as farm:
        kill(pid_of(farm, "s2"))
        eventually(lambda: all(one in read(farm) for one in warned))
        eventually(lambda: Said("balancer", "", "s2 is up, with 0 connections") in read(farm))
