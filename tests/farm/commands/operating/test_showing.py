"""People see what a farm is at: in lines, on a bar, and in the words of homing status."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from homing.farm.commands.operating.showing import showing
from homing.farm.commands.operating.status import moving, show
from homing.farm.progress import Progress
from homing.farm.status import status
from homing.farm.status.values import MoveStatus
from homing.shared.farm_state import keys
from homing.shared.farm_state.values import Refusal, ServerFacts, Wish
from homing.shared.farm_state.view import View
from tests.farm.managed import ManagedFarm

NOW = datetime(2030, 1, 2, tzinfo=UTC)
MOVE = MoveStatus(1, {}, "s1", "s2", "drain", "stopped", None, "3 sessions", None, "")


def test_a_line_says_what_is_waited_for_once(capsys: pytest.CaptureFixture[str]) -> None:
    with showing() as show_:
        for words in ("s2 is not up yet", "s2 is not up yet", "", "7 parts on the way"):
            show_.step(Progress(1, words))
        show_.say("interrupted\x1b")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["s2 is not up yet", "interrupted\\x1b"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr("homing.farm.commands.parsing.stderr", lambda: terminal)
    with showing() as show_:
        show_.step(Progress(4, "4 parts on the way"))
        show_.step(Progress(1, "1 part on the way"))
        show_.say("the registry's 'x' is ignored")
    assert "1 part on the way" in screen.getvalue()
    assert "is ignored" in screen.getvalue()


def test_people_see_the_farm(capsys: pytest.CaptureFixture[str]) -> None:
    farm = ManagedFarm("s1", "s2", bits=2)
    farm.put(keys.wish("nginx"), Wish(ServerFacts("tcp:10.0.0.7:443", managed=False)))
    farm.put(keys.refusal("s9"), Refusal("1", "it overlaps"))
    show(status(farm.view, NOW))
    out = capsys.readouterr().out
    assert "scheme range, epoch " in out
    assert ", 25.0% spare\nmanager: balancer-1\nbalancers: balancer-1 (table of epoch 0)\n" in out
    assert "│ s1     │ unix:s1.sock     │ yes │ active │ 50.0% │" in out
    assert "│ nginx  │ tcp:10.0.0.7:443 │ ?   │ active │  0.0% │          │       │" in out
    assert "s9 is refused: it overlaps" in out


def test_people_see_that_there_is_no_farm_and_no_manager(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(status(View(), NOW))
    assert "the registry knows of no farm yet" in capsys.readouterr().out
    show(status(ManagedFarm("s1", managed=False).view, NOW))
    assert "manager: none: nothing moves until a balancer is up" in capsys.readouterr().out


def test_moves_that_are_alike_are_one_line() -> None:
    assert list(moving([MOVE, MOVE])) == [
        "2 parts move from s1 to s2 by drain: stopped, waits for 3 sessions"
    ]


def test_a_move_has_its_time_its_end_and_why_it_is_not_as_asked() -> None:
    at, until = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
    move = MoveStatus(1, {}, "s1", "spare", "drain", "stopped", at, "3 sessions", until, "too many")
    assert list(moving([move])) == [
        f"1 part moves from s1 to spare by drain at {at}: stopped, waits for 3 sessions, until "
        f"{until} at the latest; too many"
    ]


def test_a_thousand_different_moves_do_not_flood_a_terminal() -> None:
    moves = [
        MoveStatus(one, {}, f"s{one}", "t", "drain", "stopped", None, "it", None, "")
        for one in range(1000)
    ]
    lines = list(moving(moves))
    assert (len(lines), lines[-1]) == (21, "and 980 other moves: --json has them")
