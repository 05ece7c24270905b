"""What README and the demo page promise of a return, with curl and with a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from homing.farm.processes.local import LocalFarm
from homing.shared.addresses import split_host_and_port
from tests.processes import demo_farm
from tests.reactor import eventually
from tests.whole.chromium import farm_url, trusting
from tests.whole.devtools import Window, browser

README = Path(__file__).parents[2] / "README.md"

_SEEN = """[document.querySelector(".verdict")?.className, document.body.innerText,
    document.querySelector("tr:nth-child(3) td")?.innerText,
    document.querySelector("details[open] summary")?.innerText]"""


@pytest.fixture(scope="module", name="farm")
def farm_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """A demo farm in ``homing-state``."""
    state = tmp_path_factory.mktemp("demo") / "homing-state"
    with demo_farm(state) as one:
        yield one


def test_the_readmes_curl_command_resumes(farm: LocalFarm) -> None:
    if not shutil.which("curl"):
        pytest.skip("the command curl is missing: install curl")
    found = re.search(r"^\$ (curl (?:.*\\\n)*.*)$", README.read_text(encoding="utf-8"), re.M)
    assert found
    _, port = split_host_and_port(farm.listen)
    command = found[1].replace(":8443/", f":{port}/")
    ran = subprocess.run(
        ["sh", "-c", command], cwd=farm.state_dir.parent, capture_output=True, text=True, check=True
    )
    first, *later = ran.stdout.splitlines()
    assert '"resumed": false' in first
    assert len(later) == 2
    assert all('"resumed": true' in line for line in later)


class Page:
    """The demo page in a window of a browser."""

    def __init__(self, window: Window, url: str) -> None:
        self._window = window
        self._url = url

    def click_the_warning_away(self) -> None:
        there = "!!document.getElementById('proceed-link')"
        self._window.navigate(self._url)
        eventually(lambda: bool(self._window.evaluate(there)))
        self._window.evaluate("document.getElementById('proceed-link').click()")
        eventually(lambda: bool(self._window.evaluate("!!document.querySelector('.verdict')")))

    def visit(self) -> list[str | None]:
        time.sleep(0.3)  # no person is faster; or it would be taken for a spare connection
        self._window.load(self._url)
        return self.seen()

    def seen(self) -> list[str | None]:
        seen: list[str | None] = self._window.evaluate(_SEEN)
        return seen


@contextmanager
def opened(farm: LocalFarm, folder: Path, options: Sequence[str] = ()) -> Iterator[Page]:
    """A browser that knows the demo farm only."""
    if not shutil.which("chromium"):
        pytest.skip("the command chromium is missing: install chromium")
    with browser(folder, options) as tools:
        yield Page(Window(tools), farm_url(farm))


def test_a_browser_that_trusts_the_certificate_resumes_at_each_reload(
    farm: LocalFarm, tmp_path: Path
) -> None:
    with opened(farm, tmp_path, [trusting(farm)]) as page:
        first, second, *later = [page.visit() for _ in range(6)]
    assert first[0] == "verdict first"
    assert second[0] in ("verdict spare", "verdict resumed")  # it may open two at first
    assert "Reload the page" in str(first[1])
    assert [(kind, resumed) for kind, _, resumed, _ in later] == [("verdict resumed", "True")] * 4


def test_a_browser_whose_warning_was_clicked_away_is_told_what_to_do(
    farm: LocalFarm, tmp_path: Path
) -> None:
    with opened(farm, tmp_path) as page:
        page.click_the_warning_away()
        assert page.seen()[0] == "verdict first"
        visits = [page.visit()]
        while visits[-1][0] != "verdict lost":  # now and then one resumes
            assert visits[-1][0] in ("verdict resumed", "verdict spare")
            assert len(visits) < 20
            visits.append(page.visit())
        _, words, resumed, step = visits[-1]
    assert resumed == "False"
    assert "whose warning was clicked away" in str(words)
    assert step == "Chrome, Chromium, Edge"
    assert "certutil" in str(words)
