"""The page says which case it sees, and what to do in the browser that asks."""

from __future__ import annotations

import re

import pytest

from homing.server.apps.page import page

FACTS: dict[str, object] = {
    "server": "s<1>",
    "protocol": "TLSv1.3",
    "resumed": False,
    "carrier": None,
    "issued": ["aa", "bb"],
}
AGENTS = {
    "Firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Chrome, Chromium, Edge": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.0 Safari/605.1.15",
    "curl": "curl/8.14.1",
}


def kind(shown: str) -> str:
    found = re.search('class="verdict ([a-z]+)"', shown)
    assert found
    return found[1]


def test_a_first_visit_is_asked_to_reload() -> None:
    shown = page(FACTS, 1, AGENTS["Firefox"].lower())
    assert kind(shown) == "first"
    assert "Reload the page" in shown
    assert "ca.pem" not in shown


@pytest.mark.parametrize("visits", [1, 2, 50])
@pytest.mark.parametrize(
    ("carrier", "words"),
    [("psk", "PSK identity"), ("ticket", "ticket"), ("session-id", "session ID")],
)
def test_a_visit_that_resumed_is_told_by_what(carrier: str, words: str, visits: int) -> None:
    shown = page({**FACTS, "resumed": True, "carrier": carrier}, visits, "")
    assert kind(shown) == "resumed"
    assert f"by the {words} it brought" in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize("browser", AGENTS)
def test_a_return_that_did_not_resume_is_told_what_to_do_its_own_browser_first(
    browser: str,
) -> None:
    shown = page(FACTS, 2, AGENTS[browser].lower())
    assert kind(shown) == "lost"
    steps = re.findall(r"<details( open)?><summary>([^<]+)</summary>", shown)
    assert steps[0] == (" open", browser)
    assert {name for _, name in steps} == set(AGENTS)
    assert sum(bool(is_open) for is_open, _ in steps) == 1


def test_who_comes_by_a_spare_connection_is_asked_to_reload_once_more_not_to_trust() -> None:
    shown = page(FACTS, 2, AGENTS["Firefox"].lower(), spare=True)
    assert kind(shown) == "spare"
    assert "Reload once more" in shown
    assert "ca.pem" not in shown
    assert kind(page({**FACTS, "resumed": True, "carrier": "psk"}, 2, "", spare=True)) == "resumed"


def test_what_others_said_is_shown_as_text_and_nothing_comes_from_elsewhere() -> None:
    for visits in (1, 2):
        shown = page(FACTS, visits, "<script>")
        assert "s&lt;1&gt;" in shown
        assert "<1>" not in shown
        assert "<script" not in shown
        assert "aa, bb" in shown
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", shown)
        assert len(shown) < 6000
