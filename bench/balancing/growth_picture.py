"""Panels with lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import attrs

from bench.measuring.figures import short
from bench.measuring.picture import svg

_WIDE, _HIGH, _LEFT, _GAP, _TOP = 260, 150, 30, 50, 90
_LETTERS = 13.0
"""How high a line of text is."""
_COLOURS = ("#4c78a8", "#c26a2a")


@attrs.frozen
class Line:
    """Numbers over table entries."""

    name: str
    points: Sequence[tuple[int, float]]


@attrs.frozen
class Panel:
    """Lines that share an axis, which begins at 0."""

    title: str
    lines: Sequence[Line]


def picture(title: str, beneath: str, panels: Sequence[Panel]) -> str:
    """An SVG with all panels side by side."""
    body = [
        part
        for place, one in enumerate(panels)
        for part in _panel(one, _LEFT + place * (_WIDE + _GAP))
    ]
    return svg(title, beneath, _TOP + _HIGH + 50, body)


def _panel(panel: Panel, left: float) -> Iterator[str]:
    numbers = [number for line in panel.lines for _, number in line.points]
    places = sorted({at for line in panel.lines for at, _ in line.points})
    most = 1.15 * max(numbers) or 1.0
    first = math.log10(places[0])
    scale = (_WIDE - 30) / ((math.log10(places[-1]) - first) or 1.0)

    def x(at: int) -> float:
        return left + (math.log10(at) - first) * scale

    floor = _TOP + _HIGH
    yield f'  <text x="{left}" y="{_TOP - 18}" class="s">{escape(panel.title)}</text>'
    yield f'  <path d="M{left} {_TOP}V{floor}h{_WIDE - 20}" class="l"/>'
    for at in (places[0], *(one for one in places if one >= 100)):
        label = f"{at // 1000}k" if at >= 1000 else str(at)
        where = f'x="{x(at):.1f}" y="{floor + 16}" text-anchor="middle"'
        yield f'  <text {where} class="s">{label}</text>'
    lines = list(enumerate(zip(panel.lines, _COLOURS, strict=True)))
    below = 0.0
    for place, (line, colour) in sorted(lines, key=lambda one: -one[1][0].points[-1][1]):
        points = [(x(at), floor - _HIGH * number / most, number) for at, number in line.points]
        path = "L".join(f"{across:.1f} {high:.1f}" for across, high, _ in points)
        yield f'  <path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        across, high, number = points[-1]
        beside = max(high, below + _LETTERS)
        below = beside
        where = f'x="{across + 5:.1f}" y="{beside + 4:.1f}"'
        yield f'  <text {where} class="s" style="fill: {colour}">{short(number)}</text>'
        where = f'x="{left + 90 * place}" y="{floor + 34}"'
        yield f'  <text {where} class="s" style="fill: {colour}">{escape(line.name)}</text>'
