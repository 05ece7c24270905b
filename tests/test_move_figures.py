"""The figures of the ways of moving show every transition, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from homing.shared.moves import TRANSITIONS, PartStep, Way

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
ARROW = re.compile(r'data-step="(\w+)" data-event="(\w+)" data-then="(\w+)"')

pytestmark = pytest.mark.skipif(
    not FIGURES.exists(), reason="the wheel has no documentation beside it"
)


def transitions(way: Way) -> set[tuple[str, str, str]]:
    """Those that lead from one step to another, of all steps that can be reached."""
    found: set[tuple[str, str, str]] = set()
    reached, unseen = {PartStep.HELD}, [PartStep.HELD]
    while unseen:
        step = unseen.pop()
        for event, then in TRANSITIONS[way][step].items():
            if then is not step:
                found.add((step.value, event.name, then.value))
            if then not in reached:
                reached.add(then)
                unseen.append(then)
    return found


@pytest.mark.parametrize("way", Way)
def test_the_figure_of_a_way_is_true(way: Way) -> None:
    figure = (FIGURES / f"move-{way.value}.svg").read_text("utf-8")
    assert set(ARROW.findall(figure)) == transitions(way)
