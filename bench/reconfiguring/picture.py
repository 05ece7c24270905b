"""The timelines as a picture: who resumed whose sessions, and what was done meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from bench.reconfiguring.clients import Outcome
from bench.reconfiguring.story import Step, Told

_WIDTH, _LEFT, _RIGHT = 940, 25, 915
_HEAD, _CHART, _LANE, _GAP = 58, 100, 17, 22
_LETTER = 6.4
"""Of a label, in units of the picture: its letters have 11 on average about that width."""
_BIN = 1.0
"""Seconds of visits that are counted together."""
_COLOURS = {"s1": "#4c78a8", "s2": "#e0a030", "s3": "#54a24b", "s4": "#9d7bb8", "s5": "#3fa7a0"}

_STYLE = """\
    text { font: 14px "DejaVu Sans", Verdana, Arial, sans-serif; fill: #1a1a1a; }
    .s { font-size: 11px; fill: #444; }
    .n { font-weight: bold; fill: #0b4f8a; }
    .r { fill: #33475b; }
    .x { fill: #c22; }
    .l { stroke: #33475b; stroke-width: 1; }"""


def picture(told: Sequence[Told]) -> str:
    """An SVG with a panel for each of the stories."""
    body: list[str] = []
    top = 34.0
    seconds = max(one.steps[-1].ended for one in told)
    for one in told:
        panel, height = _panel(one, top, (_RIGHT - _LEFT) / seconds)
        body += panel
        top += height + _GAP
    height = round(top)
    title = "Resumptions a second by server, while a farm is reconfigured"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img" aria-labelledby="t">',
            f'  <title id="t">{title}</title>',
            f"  <style>\n{_STYLE}\n  </style>",
            f'  <rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *_legend(title),
            *body,
            "</svg>\n",
        )
    )


def _legend(title: str) -> Iterator[str]:
    yield f'  <text x="{_LEFT}" y="24">{title}</text>'
    for place, (server, colour) in enumerate(_COLOURS.items()):
        x = _RIGHT - 46 * (len(_COLOURS) - place)
        yield f'  <rect x="{x}" y="13" width="12" height="12" fill="{colour}"/>'
        yield f'  <text x="{x + 17}" y="23" class="s">{server}</text>'


def _panel(told: Told, top: float, scale: float) -> tuple[list[str], float]:
    """A story, `scale` units a second; and how high it is."""
    resumed, lost = told.count(Outcome.RESUMED), told.count(Outcome.LOST)
    share = 1000 * resumed // max(1, resumed + lost) / 10  # never rounded up
    figures = f"{resumed:,} of {resumed + lost:,} that could resume did: {share} %"
    floor = top + _HEAD + _CHART - 20
    lines = [
        f'  <text x="{_LEFT}" y="{top + 24:g}" class="n">{escape(told.setting.words)}</text>',
        f'  <text x="{_RIGHT}" y="{top + 24:g}" text-anchor="end" class="n">{figures}</text>',
        *_areas(told, floor, scale),
        *_lost(told, floor, scale),
        f'  <path d="M{_LEFT} {floor:g}H{_RIGHT}" class="l"/>',
        *_seconds(told, floor, scale),
    ]
    steps, lanes = _steps(told.steps[1:-1], floor + 22, scale)
    return [*lines, *steps], floor + 22 + lanes * _LANE - top


def _areas(told: Told, floor: float, scale: float) -> Iterator[str]:
    """What each server resumed, one on top of the other."""
    bins = int(told.steps[-1].ended / _BIN)
    counts = Counter(
        (one.server, int(one.at / _BIN)) for one in told.visits if one.outcome is Outcome.RESUMED
    )
    totals = [sum(counts[server, at] for server in _COLOURS) for at in range(bins)]
    unit = _CHART * 0.75 / max(1, *totals)
    below = [0.0] * bins
    for server, colour in _COLOURS.items():
        above = [below[at] + counts[server, at] * unit for at in range(bins)]
        points = [*_points(above, floor, scale), *reversed(_points(below, floor, scale))]
        yield f'  <path d="M{"L".join(points)}Z" fill="{colour}"/>'
        below = above


def _points(heights: Sequence[float], floor: float, scale: float) -> list[str]:
    return [
        f"{_LEFT + (at + 0.5) * _BIN * scale:.1f} {floor - height:.1f}"
        for at, height in enumerate(heights)
    ]


def _lost(told: Told, floor: float, scale: float) -> Iterator[str]:
    for one in told.visits:
        if one.outcome is Outcome.LOST:
            x = _LEFT + one.at * scale
            yield f'  <circle cx="{x:.1f}" cy="{floor - 0.85 * _CHART:.1f}" r="3" class="x"/>'


def _seconds(told: Told, floor: float, scale: float) -> Iterator[str]:
    for second in range(0, int(told.steps[-1].ended) + 1, 10):
        x = _LEFT + second * scale
        yield f'  <path d="M{x:.1f} {floor:g}v4" class="l"/>'
        place = f'x="{x:.1f}" y="{floor + 15:g}" text-anchor="middle"'
        yield f'  <text {place} class="s">{second} s</text>'


def _steps(steps: Sequence[Step], top: float, scale: float) -> tuple[list[str], int]:
    """Steps as bars, each in the first lane that is free; and how many lanes there are."""
    ends: list[float] = []
    lines: list[str] = []
    for step in sorted(steps, key=lambda step: step.began):
        start, width = _LEFT + step.began * scale, max(3.0, (step.ended - step.began) * scale)
        long = width + 5 + _LETTER * len(step.what)
        before = start + long > _RIGHT  # then the words stand in front
        first = start - _LETTER * len(step.what) - 5 if before else start
        lane = next((at for at, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [start + width if before else start + long + 6]
        y, kind = top + lane * _LANE, "x" if "killed" in step.what else "r"
        x, anchor = (start - 4, "end") if before else (start + width + 4, "start")
        lines += [
            f'  <rect x="{start:.1f}" y="{y:.1f}" width="{width:.1f}" height="11" class="{kind}"/>',
            f'  <text x="{x:.1f}" y="{y + 9.5:.1f}" text-anchor="{anchor}" class="s">'
            f"{escape(step.what)}</text>",
        ]
    return lines, len(ends)
