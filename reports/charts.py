"""Charts, as SVG or as data that the page's script draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from conformance.reports.argument_coverage import BROKEN, ArgumentSpace, ArgumentValue, Space
from markupsafe import Markup

from conformance.model.case import COLUMN_DIGITS

MAX_VALUES = 8
"""The most values of one argument in a heat map; rarer ones are left out."""

MAX_RATIO = 8.0
"""The largest ratio to torch on the scale; larger ones are drawn at the edge."""


def bars(counts: Mapping[str, int], low: int, high: int) -> str:
    """Heights of a histogram, a character of `COLUMN_DIGITS` per bar; the page's script draws it.

    The first bar counts exact numbers; after a gap follow the powers of 2. Heights grow with the
    square root of the counts, so that small counts stay visible.

    Args:
        counts: as in `Verdict.ulps` or `Verdict.ratios`.
        low, high: powers of the outermost bars, which also count values beyond them.
    """
    numbers = [0] * (high - low + 3)
    for power, number in counts.items():
        index = 0 if power == "exact" else min(max(int(power), low), high) - low + 2
        numbers[index] += number
    top = max(numbers)
    shortest, tallest = len(COLUMN_DIGITS) // 24, len(COLUMN_DIGITS) - 1
    return "".join(
        COLUMN_DIGITS[max(shortest, round(tallest * math.sqrt(number / top))) if number else 0]
        for number in (numbers if top else ())
    )


def whisker(ratio: float, low: float | None, high: float | None) -> Markup:
    """Draw a ratio to torch on a logarithmic scale from ⅛ to 8, with its interval."""

    def position(value: float) -> float:
        return 50 + 50 * math.log(min(max(value, 1 / MAX_RATIO), MAX_RATIO)) / math.log(MAX_RATIO)

    ends = [value for value in (low, high) if value is not None and value > 0]
    line = ""
    if ends:
        line = f'<path class="bar" d="M{position(min(ends)):.1f} 5H{position(max(ends)):.1f}"/>'
    return Markup(
        '<svg class="whisker" viewBox="0 0 100 10" aria-hidden="true">'
        '<path class="axis" d="M0 5h100M50 0v10"/>'
        f"{line}"
        f'<circle class="dot" cx="{position(ratio):.1f}" cy="5" r="3"/></svg>'
    )


def trend(points: Sequence[tuple[float, float, str]], low: float, high: float) -> Markup:
    """Draw values over time as a line with a dot for each, which names itself.

    Args:
        points: (time, value, label), in the order of time.
        low, high: values at the bottom and at the top.
    """
    times = [time for time, _, _ in points]
    duration, height = max(times) - min(times), high - low

    def place(time: float, value: float) -> tuple[float, float]:
        across = (time - min(times)) / duration if duration else 0.5
        upwards = (value - low) / height if height else 0.5
        return 6 + 288 * across, 74 - 68 * upwards

    places = [place(time, value) for time, value, _ in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = Markup("").join(
        Markup('<circle class="dot" cx="{}" cy="{}" r="4"><title>{}</title></circle>').format(
            f"{x:.1f}", f"{y:.1f}", label
        )
        for (x, y), (_, _, label) in zip(places, points, strict=True)
    )
    return Markup(
        '<svg class="trend" viewBox="0 0 300 80" aria-hidden="true" focusable="false">'
        f'<path class="axis" d="M0 6h300M0 74h300"/><polyline points="{line}"/>{dots}</svg>'
    )


def heat_map(space: Space) -> tuple[list[int], str]:
    """Data of a heat map of pairs of values, which the page's script draws.

    Returns:
        The number of shown values of each argument, and for each shown value a character for every
        value before it. `.`: the pair never occurred; 1, 2, 3: it occurred in at least one, three,
        ten cases; a, b, c: some of these cases failed, at least half, all.
    """
    shown_values = [_shown_values(argument) for argument in space.arguments]
    numbered_values = [
        (number, value) for number, values in enumerate(shown_values) for value in values
    ]
    marks = []
    for index, (number, value) in enumerate(numbered_values):
        for other_number, other_value in numbered_values[:index]:
            cases, failed = (0, 0) if number == other_number else space.pair(value, other_value)
            if failed:
                marks.append("abc"[(2 * failed >= cases) + (failed == cases)])
            else:
                marks.append(".123"[(cases > 0) + (cases >= 3) + (cases >= 10)])
    return [len(values) for values in shown_values], "".join(marks)


def _shown_values(argument: ArgumentSpace) -> Sequence[ArgumentValue]:
    single = len(argument.values) == 1 or argument.name == BROKEN
    return () if single else argument.values[:MAX_VALUES]
