"""A status badge: the outcome of a run as a small picture."""

from __future__ import annotations

from conformance.reports import summary
from conformance.reports.results import Run
from conformance.reports.text import cut, share
from markupsafe import escape

from conformance.model.bits import CAUSES, differing_bits, sum_bits
from conformance.model.plain_text import visible

# White text on each colour has a contrast of at least 4.5.
COLOURS = {
    summary.CONFORMANT: "#1a6b3c",
    summary.NOT_CONFORMANT: "#b00e26",
    summary.INCOMPLETE: "#59636e",
    summary.NOTHING_PASSED: "#725400",
    summary.SURVEYED: "#1b5a8a",
    summary.WENT_WRONG: "#725400",
}
WIDTH = 6.2
"""Width of a character in pixels at this font size; the text is stretched to fit."""


def badge(run: Run) -> str:
    """Draw the run's outcome as SVG that needs no other file."""
    outcome = summary.outcome(run)
    name = outcome.name
    totals, divergences = summary.totals(run), summary.divergences(run)
    passed = totals.statuses.get("passed", 0)
    grade = f", grade {totals.letter}" if totals.letter else ""
    labels = {
        summary.CONFORMANT: _standard_label(outcome.claim, run.identity.standard)
        or f"{share(passed, totals.items)} of {totals.items} passed{grade}{_bits(run)}",
        summary.NOT_CONFORMANT: f"{sum(totals.statuses.get(s, 0) for s in summary.BAD)} failing",
        summary.INCOMPLETE: "incomplete",
        summary.NOTHING_PASSED: "nothing passed",
        summary.SURVEYED: (
            f"{share(divergences.checked - divergences.failed, divergences.checked)} "
            "of cases conform"
        ),
        summary.WENT_WRONG: "survey went wrong",
    }[name]
    label = f"nn-conformance {visible(cut(run.identity.backend, 30))}"
    return draw_badge(label, labels, COLOURS[name])


def _bits(run: Run) -> str:
    """Whether no cause changed a bit, if all were looked at."""
    bits = sum_bits(verdict.bits for verdict in run.verdicts)
    return ", same bits" if bits.keys() == CAUSES.keys() and not differing_bits(bits) else ""


def _standard_label(claim: str, standard: str) -> str:
    """The standard, marked if the claim covers only a part of it; empty without a claim."""
    if not claim.startswith("Conforms"):
        return ""
    return f"conforms to {standard}{'' if claim.endswith(f'{standard}.') else ' in part'}"


def draw_badge(left_text: str, right_text: str, colour: str) -> str:
    """Draw two texts side by side as SVG, the right one on a colour."""
    left_width, right_width = (round(len(text) * WIDTH) + 12 for text in (left_text, right_text))
    label = escape(f"{left_text}: {right_text}")
    font = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff"'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left_width + right_width}" height="20" '
        f'role="img" aria-label="{label}"><title>{label}</title>'
        f'<rect width="{left_width + right_width}" height="20" rx="3" fill="#3a4149"/>'
        f'<path d="M{left_width} 0h{right_width - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3'
        f'h-{right_width - 3}z" fill="{colour}"/>'
        f'<g {font}><text x="6" y="14" textLength="{left_width - 12}">{escape(left_text)}</text>'
        f'<text x="{left_width + 6}" y="14" textLength="{right_width - 12}">'
        f"{escape(right_text)}</text></g></svg>\n"
    )
    return svg.encode("utf-8", "backslashreplace").decode()
