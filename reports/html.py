"""The report: one self-contained HTML file."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from . import summary
from .results import Run

SHORT = 300
"""Characters shown of a name or a value."""

MESSAGE = 20_000
"""Characters shown of a message or a minimal call."""

SCRIPT = 100_000
"""Characters shown of a reproducer."""

PAGE = 16_000_000
"""Characters of messages, calls and reproducers on one page; later ones are cut to `SHORT`."""

LISTED = 200
"""Entries shown of lists that nothing else bounds: missing items, reasons, unreadable lines."""

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_PLAIN = re.compile(r"[\t\n -~]*")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_UNITS = (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
_NARROW = "\u202f"


def render(run: Run, results: str = "RESULTS") -> str:
    """The report of a run; the same run gives the same page.

    Args:
        run: what to report.
        results: how the replay commands shall name the results file.

    Returns:
        HTML that needs no other file and no network, and always encodes as UTF-8.
    """
    environment = _environment()
    sheet, script = (_source(name) for name in ("report.css", "report.js"))
    outcome = summary.outcome(run)
    table = summary.matrix(run)
    page = environment.get_template("report.html").render(
        run=run,
        identity=run.identity,
        outcome=outcome,
        matrix=table,
        totals=summary.totals(run),
        counts=summary.counts(run),
        failures=summary.failures(run),
        known=summary.known(run),
        reasons=summary.unsupported(run),
        margins=summary.margins(run),
        dtypes=summary.dtypes(run),
        devices=summary.devices(run),
        provenance=_provenance(run),
        linked={*summary.BAD, "known"},
        status_of=summary.status,
        glyphs=summary.GLYPHS,
        long=_Room(PAGE).cut,
        limits={"short": SHORT, "message": MESSAGE, "script": SCRIPT, "listed": LISTED},
        replay=lambda item: f"nn-conformance replay {shlex.quote(results)} {shlex.quote(item)}",
        sheet=Markup(sheet),
        script=Markup(script),
        policy=(
            f"default-src 'none'; style-src '{_hash(sheet)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )
    return page.encode("utf-8", "backslashreplace").decode()


def visible(text: str) -> str:
    """Text that is safe to print: ANSI sequences stripped, other invisible characters shown.

    Args:
        text: anything, lone surrogates and direction overrides included.

    Returns:
        The text with line feeds and tabs kept, and other control characters, format characters
        and surrogates as `\\x00`, `\\u202e`.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    return "".join(map(_symbol, text))


def cut(text: str, length: int = SHORT) -> str:
    """The text, or its beginning with a note of how long it was.

    Args:
        text: the text.
        length: the number of characters to keep.
    """
    if len(text) <= length:
        return text
    return f"{text[:length]} … cut, {grouped(len(text))} characters"


def breakable(text: str) -> Markup:
    """A name as markup that may be broken after its dots.

    Args:
        text: the name; any text.
    """
    return Markup(str(escape(visible(cut(text)))).replace(".", ".<wbr>"))


def anchor(id: str) -> str:
    """The HTML id of a verdict: its own id, or a readable likeness with a hash.

    Args:
        id: of the verdict; any text.
    """
    if re.fullmatch(r"[\w.]+(-[\w.:]+){3}", id, re.ASCII):
        return id
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', id)[:60]}-{_digest(id)}---"


def layer_anchor(layer: str) -> str:
    """The HTML id of a layer's details.

    Args:
        layer: its name; any text.
    """
    plain = re.fullmatch(r"[\w.]+", layer, re.ASCII)
    return f"layer_{layer}" if plain else f"layer_{_digest(layer)}"


def grouped(number: int) -> str:
    """An integer with its digits in groups of three."""
    return f"{number:,d}".replace(",", _NARROW)


def compact(number: int) -> str:
    """An integer to two significant digits or a little more: `950`, `1.2k`, `123k`."""
    if number < 1000:
        return str(number)
    for unit, scale in _UNITS:
        if number / scale < 999.5:
            return f"{number / scale:.{1 if number / scale < 9.95 else 0}f}{unit}"
    return f"{number:.2g}"


def share(part: int, whole: int) -> str:
    """A percentage that says 0 and 100 only where it means them.

    Args:
        part, whole: the counts.
    """
    if not whole:
        return "–"
    if part in (0, whole):
        return f"{100 * part // whole}{_NARROW}%"
    percent = 100 * part / whole
    if percent < 0.1:
        return f"<{_NARROW}0.1{_NARROW}%"
    return f"{min(percent, 99.9) if part < whole else percent:.1f}{_NARROW}%"


def ratio(margin: float | None) -> str:
    """An error ÷ bound, rounded away from 1 so that it never seems to lie on the other side.

    Args:
        margin: the ratio, None where no bound applied.
    """
    if margin is None or math.isnan(margin):
        return "–"
    if math.isinf(margin):
        return "∞"
    if margin <= 1:
        small = 0 < margin < 0.001
        return f"<{_NARROW}0.001" if small else f"{math.floor(margin * 1000) / 1000:.3f}"
    if margin < 100:
        return f"{math.ceil(margin * 100) / 100:.2f}"
    return re.sub(r"e\+0*", "e", f"{margin:.3g}")


def spread(ulps: Mapping[str, int]) -> str:
    """How far numbers were away: the share that was exact, and how far 99 % were at most.

    Args:
        ulps: as in `Verdict.ulps`.
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
    shown = f"{2**limit}" if 0 <= limit < 10 else f"2^{limit}"
    return f"{exact} exact, 99{_NARROW}% < {shown} ulp"


def duration(seconds: float) -> str:
    """A time for people: `1 h 2 min`, `3 min 4 s`, `5.6 s`, `12 ms`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{grouped(hours)} h {minutes} min" if hours else f"{minutes} min {rest} s"


class _Room:
    """Cuts texts, each to its own length and all together to the room of a page."""

    def __init__(self, room: int) -> None:
        self._room = room

    def cut(self, text: str, length: int) -> str:
        kept = cut(text, min(length, max(SHORT, self._room)))
        self._room -= len(kept)
        return kept


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("conformance.reports"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        anchor, breakable, compact, cut, duration, grouped, layer_anchor, ratio, share, spread,
    )  # fmt: skip
    environment.filters.update((function.__name__, function) for function in filters)
    return environment


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")


def _finalize(value: Any) -> Any:
    """Whatever a template prints is cut and made visible, unless it is markup already."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(cut(value, 2 * SCRIPT))
    return value


def _symbol(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _provenance(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of (term, value) pairs: everything that produced the run."""
    identity = run.identity
    finished = run.footer.finished if run.footer else "not finished"
    took = duration(run.footer.seconds) if run.footer else "unknown, no last line"
    return [
        ("Backend", [("name", identity.backend), *_pairs(identity.info)]),
        (
            "Versions",
            [
                ("nn-conformance", identity.suite),
                ("torch", identity.torch or "not installed"),
                ("NumPy", identity.numpy),
                ("Hypothesis", identity.hypothesis),
                ("Python", identity.python),
                ("results schema", str(identity.schema)),
            ],
        ),
        (
            "Machine",
            [
                ("OS", identity.os),
                ("CPU", identity.cpu),
                *((f"threads, {name}", value) for name, value in _pairs(identity.threads)),
            ],
        ),
        (
            "Selection",
            [
                ("devices", ", ".join(identity.devices) or "none"),
                ("dtypes", ", ".join(identity.dtypes) or "none"),
                ("profile", identity.profile),
                ("seed", str(identity.seed)),
                ("examples per item", grouped(identity.examples)),
                ("shard", identity.shard),
                ("items, this shard", grouped(len(identity.items))),
                ("items, whole run", grouped(identity.total)),
            ],
        ),
        (
            "Session",
            [
                ("started", identity.started),
                ("finished", finished),
                ("duration", took),
                *(
                    [(f"git {name}", value) for name, value in _pairs(identity.git)]
                    if identity.git
                    else [("git", "no checkout")]
                ),
            ],
        ),
        ("Numerics declared by the backend", _numerics(run)),
        ("Options", _pairs(identity.options) or [("options", "none given")]),
    ]


def _numerics(run: Run) -> list[tuple[str, str]]:
    """What changes the bounds; the whole of a results file of an older suite says nothing."""
    said = run.identity.numerics.items()
    return [
        (dtype, ", ".join(f"{name} = {value}" for name, value in facts.items()) or "as IEEE 754")
        for dtype, facts in said
    ] or [("numerics", "not recorded")]


def _pairs(mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(str(key), str(value)) for key, value in mapping.items()]
