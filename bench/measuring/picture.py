"""Figures as a picture: the ratios as bars, with marks where they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.measuring.figures import Figure, short

WIDTH = 940
_LEFT, _BARS, _RIGHT = 25, 540, 890
_HEAD, _ROW = 66, 30

STYLE = """\
    text { font: 14px "DejaVu Sans", Verdana, Arial, sans-serif; fill: #1a1a1a; }
    .s { font-size: 11px; fill: #444; }
    .n { font-weight: bold; fill: #0b4f8a; }
    .b { fill: #4c78a8; }
    .o { fill: #c26a2a; }
    .a { stroke: #1a1a1a; stroke-width: 2; }
    .d { stroke: #54a24b; stroke-width: 2; stroke-dasharray: 3 2; }
    .l { stroke: #33475b; stroke-width: 1; fill: none; }"""


def bars(figures: Sequence[Figure], title: str, beneath: str) -> str:
    """An SVG with the ratio of every figure; `beneath` the title is said what was measured."""
    most = max((one.ratio or 0.0 for one in figures), default=1.0)
    scale = (_RIGHT - _BARS) / max(1.0, most, *(one.asked or 0.0 for one in figures))
    body: list[str] = []
    for place, one in enumerate(figures):
        body += _row(one, _HEAD + 14 + place * _ROW, scale)
    floor = _HEAD + 14 + len(figures) * _ROW
    equal = _BARS + scale
    body.append(f'  <path d="M{equal:.1f} {_HEAD + 4}V{floor}" class="l"/>')
    body.append(f'  <text x="{equal:.1f}" y="{_HEAD}" text-anchor="middle" class="s">1</text>')
    return svg(title, beneath, floor + 10, [*_legend(), *body])


def svg(title: str, beneath: str, height: float, body: Sequence[str]) -> str:
    """The picture around `body`, with its title and the line beneath."""
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
            f'width="{WIDTH}" height="{height:g}" role="img" aria-labelledby="t">',
            f'  <title id="t">{escape(title)}</title>',
            f"  <style>\n{STYLE}\n  </style>",
            f'  <rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>',
            f'  <text x="{_LEFT}" y="24" class="n">{escape(title)}</text>',
            f'  <text x="{_LEFT}" y="42" class="s">{escape(beneath)}</text>',
            *body,
            "</svg>\n",
        )
    )


def _legend() -> Iterator[str]:
    for x, kind, word in ((_RIGHT - 160, "a", "asked"), (_RIGHT - 80, "d", "dream")):
        yield f'  <path d="M{x} 14v14" class="{kind}"/>'
        yield f'  <text x="{x + 6}" y="25" class="s">{word}</text>'
    yield f'  <rect x="{_RIGHT - 270}" y="15" width="12" height="12" class="o"/>'
    yield f'  <text x="{_RIGHT - 254}" y="25" class="s">not as asked</text>'


def _row(figure: Figure, top: float, scale: float) -> Iterator[str]:
    ratio = figure.ratio or 0.0
    kind = "o" if figure.is_met is False else "b"
    end = _BARS + ratio * scale
    yield f'  <text x="{_LEFT}" y="{top + 14:g}" class="s">{escape(figure.figure)}</text>'
    size = f'width="{ratio * scale:.1f}" height="18"'
    yield f'  <rect x="{_BARS}" y="{top:g}" {size} class="{kind}"/>'
    for aim, mark in ((figure.asked, "a"), (figure.dream, "d")):
        if aim is not None:
            x = _BARS + aim * scale
            yield f'  <path d="M{x:.1f} {top - 3:g}v24" class="{mark}"/>'
    beyond = max([end, *(_BARS + aim * scale for aim in (figure.asked, figure.dream) if aim)])
    yield f'  <text x="{beyond + 6:.1f}" y="{top + 14:g}" class="s">{short(figure.ratio)}</text>'
