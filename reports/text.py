"""Formatting of numbers and names for pages, safe for any content."""

from __future__ import annotations

import hashlib
import math
import re
import urllib.parse
from collections.abc import Mapping

from markupsafe import Markup, escape

from conformance.model.plain_text import visible

MAX_SHORT = 300
"""Characters shown of a name or a value."""


_UNITS = (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
_NARROW_SPACE = "\u202f"


def cut(text: str, length: int = MAX_SHORT) -> str:
    """The text, or its first `length` characters with a note of its full length."""
    if len(text) <= length:
        return text
    return f"{text[:length]} … cut, {grouped(len(text))} characters"


def breakable(text: str) -> Markup:
    """Any text, escaped, with a possible line break after each dot."""
    return Markup(str(escape(visible(cut(text)))).replace(".", ".<wbr>"))


def anchor(id: str) -> str:
    """The HTML id of a verdict: its own id, or for unusual ids a readable form with a hash."""
    if re.fullmatch(r"[\w.]+(-[\w.:]+){3}", id, re.ASCII):
        return id
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', id)[:60]}-{_digest(id)}---"


def grouped(number: int) -> str:
    """Format an integer with its digits in groups of three."""
    return f"{number:,d}".replace(",", _NARROW_SPACE)


def compact(number: int) -> str:
    """Format an integer with two or three significant digits: `950`, `1.2k`, `123k`."""
    if number < 1000:
        return str(number)
    for unit, scale in _UNITS:
        if number / scale < 999.5:
            return f"{number / scale:.{1 if number / scale < 9.95 else 0}f}{unit}"
    return f"{number:.2g}"


def share(part: int, whole: int) -> str:
    """Format a share as a percentage; 0 % and 100 % appear only if they are exact."""
    if not whole:
        return "–"
    if part in (0, whole):
        return f"{100 * part // whole}{_NARROW_SPACE}%"
    percent = 100 * part / whole
    if percent < 0.1:
        return f"<{_NARROW_SPACE}0.1{_NARROW_SPACE}%"
    return f"{min(percent, 99.9) if part < whole else percent:.1f}{_NARROW_SPACE}%"


def ratio(margin: float | None) -> str:
    """Format an error ÷ bound, rounded so that it stays on its side of 1; None = no bound."""
    if margin is None or math.isnan(margin):
        return "–"
    if math.isinf(margin):
        return "∞"
    if margin <= 1:
        small = 0 < margin < 0.001
        return f"<{_NARROW_SPACE}0.001" if small else f"{math.floor(margin * 1000) / 1000:.3f}"
    if margin < 100:
        return f"{math.ceil(margin * 100) / 100:.2f}"
    return re.sub(r"e\+0*", "e", f"{margin:.3g}")


def spread(ulps: Mapping[str, int]) -> str:
    """Describe distances: the share of exact numbers, and a limit for 99 % of the numbers.

    `ulps` is a histogram as in `Verdict.ulps`.
    """
    total = sum(ulps.values())
    if not total:
        return ""
    exact = share(ulps.get("exact", 0), total)
    powers = sorted((int(power), number) for power, number in ulps.items() if power != "exact")
    within = ulps.get("exact", 0)
    for power, number in powers:
        if within >= 0.99 * total:
            break
        within += number
        limit = power + 1
    if within == ulps.get("exact", 0):
        return f"{exact} exact"
    limit_text = f"{2**limit}" if 0 <= limit < 10 else f"2^{limit}"
    return f"{exact} exact, 99{_NARROW_SPACE}% < {limit_text} ulp"


def duration(seconds: float) -> str:
    """Format a duration: `1 h 2 min`, `3 min 4 s`, `5.6 s`, `12 ms`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{grouped(hours)} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def query(terms: Mapping[str, str]) -> str:
    """The address of a filter within the page: `#q=layer:Conv2d+check:values`."""
    quoted = (
        f'{name}:"{value}"' if re.search(r"[\s,*\"]", value) else f"{name}:{value}"
        for name, value in terms.items()
    )
    joined = " ".join(quoted).encode("utf-8", "backslashreplace")
    return "#q=" + urllib.parse.quote(joined, safe=":.,*-_").replace("%20", "+")


def precise(seconds: float | None) -> str:
    """Format a short time with three digits: `12.3 µs`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
