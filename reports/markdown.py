"""A Markdown summary of a run, for the page of a CI job."""

from __future__ import annotations

import re

from conformance.reports import summary, support_gaps
from conformance.reports.grades import letter
from conformance.reports.results import Run
from conformance.reports.text import cut, grouped, ratio, share

from conformance.model.bits import describe_bits, sum_bits
from conformance.model.grades import GRADES
from conformance.model.plain_text import visible

MAX_CAUSES = 20
"""Likely causes that are listed."""

MAX_LAYERS = 200
"""Rows of the table."""

MAX_TEXT = 200_000
"""The most characters: CI services refuse pages beyond a mebibyte."""


def markdown(run: Run, *, all_causes: bool = False, results: str = "RESULTS") -> str:
    """Render the outcome, the failures by cause, and layers × checks.

    With `all_causes`, all causes and all unsupported layers are listed, however long the page
    becomes. `results` is the name of the results file in commands.
    """
    outcome, totals = summary.outcome(run), summary.totals(run)
    table = summary.matrix(run)
    command = _code_span(f"nn-conformance summary {results} --all")
    lines = [
        f"## {_icon(outcome.name)} {_plain_text(run.identity.backend, 80)}: {outcome.name}",
        "",
        *([f"**{_plain_text(outcome.headline, 1000)}**", ""] if outcome.headline else []),
        *([f"**{_plain_text(outcome.claim, 1000)}**", ""] if outcome.claim else []),
        _plain_text(outcome.sentence, 1000),
        "",
        _numbers(run, totals),
        "",
        *([f"> Drawn {_plain_text(run.identity.drawn, 300)}.", ""] if run.identity.drawn else []),
        *(f"> {_plain_text(note, 300)}" for note in run.notes[:5]),
        *_failures(run, table, None if all_causes else MAX_CAUSES, command),
        *_not_occurring_lines(run),
        *_support_gap_lines(run, table, "" if all_causes else command),
        *_matrix(table),
    ]
    text = "\n".join(lines).encode("utf-8", "backslashreplace").decode() + "\n"
    return text if all_causes or len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n\n… cut\n"


def _numbers(run: Run, totals: summary.Totals) -> str:
    return (
        f"{grouped(totals.checked)} of {grouped(totals.drawn)} examples checked "
        f"({share(totals.checked, totals.drawn)}), {grouped(totals.comparisons)} numbers compared, "
        f"largest error ÷ bound {ratio(totals.margin)}{_grade(totals)}. {_bits(run)}"
        f"Profile {_plain_text(run.identity.profile)}, seed {run.identity.seed}."
    )


def _bits(run: Run) -> str:
    text = describe_bits(sum_bits(verdict.bits for verdict in run.verdicts))
    return f"{text[:1].upper()}{text[1:]}. " if text else ""


def _grade(totals: summary.Totals) -> str:
    return f", worst grade {totals.letter} ({totals.grade})" if totals.grade else ""


def _failures(run: Run, table: summary.Matrix, max_causes: int | None, command: str) -> list[str]:
    """The causes of failure; `command` lists those beyond `max_causes`."""
    bugs = summary.clusters(summary.verdicts_with_status(table), run.identity.layers)
    if not bugs:
        return []
    lines = [f"### {len(bugs)} likely cause{'s' if len(bugs) > 1 else ''} of failure", ""]
    for bug in bugs[:max_causes]:
        layers, first = ", ".join(bug.layers[:4]), bug.first
        needs = f", {bug.relation} {bug.needs_words}" if bug.needs_words else ""
        count = f"{len(bug.items)} item{'s' if len(bug.items) > 1 else ''}"
        lines.append(
            f"- {summary.GLYPHS[bug.status]} **{_plain_text(layers)}**: "
            f"{_plain_text(bug.title, 160)}{_plain_text(needs)} ({count})"
        )
        if first.call:
            lines.append(f"  {_code_span(first.call)}")
    if max_causes is not None and len(bugs) > max_causes:
        lines.append(f"- … and {len(bugs) - max_causes} more: {command}")
    return [*lines, ""]


def _not_occurring_lines(run: Run) -> list[str]:
    """Known failures that do not occur on the machine of the run."""
    reasons = summary.divergences(run).not_shown
    if not reasons:
        return []
    lines = [f"- {_plain_text(reason, 300)}" for reason in list(reasons)[:MAX_CAUSES]]
    if len(reasons) > MAX_CAUSES:
        lines.append(f"- … and {len(reasons) - MAX_CAUSES} more")
    places = _plain_text(", ".join(run.identity.places.values()), 300)
    return [f"### Known failures that do not show on {places}", "", *lines, ""]


def _support_gap_lines(run: Run, table: summary.Matrix, command: str) -> list[str]:
    """A line for each gap in the backend's support.

    Many layers are only counted if a `command` lists them.
    """
    format_layers = support_gaps.format_few_layers if command else support_gaps.format_layers
    lines = []
    for gap in support_gaps.support_gaps(table):
        names = format_layers(gap.layers, table.layers, run.identity.layers)
        text = _plain_text(f"{len(gap.layers)} not supported{gap.where}")
        lines.append(f"- – {text}{f': {_plain_text(names, 2000)}' if names else f' ({command})'}")
    title = "### Layers that the backend lacks, in whole or in part"
    return [title, "", *lines, ""] if lines else []


def _matrix(table: summary.Matrix) -> list[str]:
    rows = support_gaps.supported_rows(table)
    if not rows:
        return []
    letters = ", ".join(f"{letter(name)} {name}" for name in GRADES)
    lines = [
        "<details><summary>Layers × checks</summary>",
        "",
        f"A letter is the worst grade of the numbers: {letters}.",
        "",
        f"| layer | {' | '.join(_plain_text(check, 40) for check in table.checks)} |",
        f"|---|{'---|' * len(table.checks)}",
    ]
    for row in rows[:MAX_LAYERS]:
        cells = (_cell(cell) for cell in row.cells)
        lines.append(f"| {_plain_text(row.layer, 60)} | {' | '.join(cells)} |")
    if len(rows) > MAX_LAYERS:
        lines.append(f"| … and {len(rows) - MAX_LAYERS} more |{' |' * len(table.checks)}")
    return [*lines, "", "</details>"]


def _cell(cell: summary.MatrixCell | None) -> str:
    if cell is None:
        return ""
    tally = cell.tally
    part = tally.statuses.get(tally.status, tally.missing)
    number = "" if part == tally.items else f" {part}/{tally.items}"
    grade = f" {tally.letter}" if tally.letter else ""
    return f"{summary.GLYPHS[tally.status]} {tally.status}{number}{grade}"


def _icon(name: str) -> str:
    icons = {summary.CONFORMANT: "✓", summary.NOT_CONFORMANT: "✗", summary.SURVEYED: "≈"}
    return icons.get(name, "…")


def _plain_text(text: str, length: int = 200) -> str:
    """Format a text as one line in which nothing is markup."""
    plain = " ".join(visible(cut(text, length)).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~@])", r"\\\1", plain)


def _code_span(text: str, length: int = 300) -> str:
    """Format a text as code on one line, with its back quotes replaced."""
    return f"`{' '.join(visible(cut(text, length)).split()).replace('`', chr(0x2019))}`"
