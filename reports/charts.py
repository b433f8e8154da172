"""Charts as SVG, drawn here so that they need no script; colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from conformance.reports.space import BROKEN, ArgumentSpace, ArgumentValue, Space
from conformance.reports.text import cut
from markupsafe import Markup, escape

from conformance.model.plain_text import visible

HEIGHT = 12
SHOWN = 8
"""Values of one argument in a heat map; rarer ones are left out."""

WIDEST = 8.0
"""The largest ratio to torch that has a place of its own; beyond it lies the edge."""


def histogram(
    counts: Mapping[str, int], low: int, high: int, label: str, limit: int | None = None
) -> Markup:
    """How many numbers were how large, in powers of 2; the bar on the left stands for exact ones.

    Heights grow with the square root of the numbers, so that a few show next to many.

    Args:
        counts: as in `Verdict.ulps` or `Verdict.ratios`.
        low, high: powers on the outermost bars, which hold what lies beyond.
        label: what a screen reader says.
        limit: the power from which on bars are marked as too much; None = no such power.
    """
    total = sum(counts.values())
    if not total:
        return Markup("")
    bars = [0] * (high - low + 1)
    for power, number in counts.items():
        if power != "exact":
            bars[min(max(int(power), low), high) - low] += number
    heights = [counts.get("exact", 0), 0, *bars]
    top = max(heights)
    within: list[str] = []
    over: list[str] = []
    edge = len(heights) if limit is None else limit - low + 2
    for place, number in enumerate(heights):
        if number:
            size = max(0.5, HEIGHT * math.sqrt(number / top))
            part = f"M{place} {HEIGHT}v{-size:.3g}h.8v{size:.3g}z"
            (over if place >= edge else within).append(part)
    width = len(heights)
    marks = f'<path class="axis" d="M0 {HEIGHT}.2h{width}"/>'
    if limit is not None:
        marks += f'<path class="edge" d="M{edge - 0.1:g} 0v{HEIGHT + 1}"/>'
    return Markup(
        f'<svg class="hist" viewBox="0 -1 {width} {HEIGHT + 2}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(visible(cut(label)))}">{marks}'
        f'<path class="bar" d="{"".join(within)}"/>'
        + (f'<path class="bad" d="{"".join(over)}"/>' if over else "")
        + "</svg>"
    )


def whisker(ratio: float, low: float | None, high: float | None) -> Markup:
    """A ratio to torch on a logarithmic scale from ⅛ to 8, with its interval."""

    def place(value: float) -> float:
        return 50 + 50 * math.log(min(max(value, 1 / WIDEST), WIDEST)) / math.log(WIDEST)

    ends = [value for value in (low, high) if value is not None and value > 0]
    line = ""
    if ends:
        line = f'<path class="bar" d="M{place(min(ends)):.1f} 5H{place(max(ends)):.1f}"/>'
    return Markup(
        '<svg class="whisker" viewBox="0 0 100 10" aria-hidden="true">'
        '<path class="axis" d="M0 5h100M50 0v10"/>'
        f"{line}"
        f'<circle class="dot" cx="{place(ratio):.1f}" cy="5" r="3"/></svg>'
    )


def heat_map(space: Space) -> str:
    """Which values met which: darker = more cases, red = some failed, blank = never.

    Args:
        space: of a layer.
    """
    places = [
        (argument.name, value.text) for argument in _wide(space) for value in _shown(argument)
    ]
    cells: dict[str, list[str]] = {}
    for row, (one, a) in enumerate(places):
        for column, (other, b) in enumerate(places[:row]):
            if one == other:
                continue
            found = space.pairs.get((other, one, b, a)) or space.pairs.get((one, other, a, b))
            if found is None:
                continue
            cases, failed = found
            shade = 1 + (cases >= 3) + (cases >= 10)
            name = f"f{1 + (2 * failed >= cases) + (failed == cases)}" if failed else f"c{shade}"
            cells.setdefault(name, []).append(f"M{column} {row}h.9v.9h-.9z")
    left, size = 13, len(places)
    texts = []
    for row, (name, text) in enumerate(places):
        label = escape(visible(cut(f"{name} {text}", 28)))
        texts.append(f'<text x="-.3" y="{row + 0.7}" text-anchor="end">{label}</text>')
        if row + 1 < size:
            place = f"translate({row + 0.2} {row - 0.1}) rotate(-45)"
            texts.append(f'<text transform="{place}" x="0.3">{label}</text>')
    paths = "".join(f'<path class="{n}" d="{"".join(d)}"/>' for n, d in sorted(cells.items()))
    label = escape(visible(cut(f"{space.layer}: pairs of values that were drawn together")))
    top = 9
    return (
        f'<svg class="heat" viewBox="{-left} {-top} {size + left + 9} {size + top}" '
        f'width="{(size + left + 9) * 14}" role="img" aria-label="{label}">'
        f'<g class="labels">{"".join(texts)}</g>{paths}</svg>'
    )


def _wide(space: Space) -> Iterable[ArgumentSpace]:
    return (a for a in space.arguments if len(a.values) > 1 and a.name != BROKEN)


def _shown(argument: ArgumentSpace) -> Iterable[ArgumentValue]:
    return argument.values[:SHOWN]
