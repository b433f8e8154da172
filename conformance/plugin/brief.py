"""What a run comes to on a terminal of 80 columns: what did not pass, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from conformance.reports import causes, summary
from conformance.reports.clusters import Cluster
from conformance.reports.results import Run
from conformance.reports.text import cut, visible

CAUSES = 12
"""Causes that are shown; the others are in the report and in `nn-conformance summary`."""
LONGEST = 600
"""Characters of a call, or of a number, that are shown."""


def brief(run: Run, width: int = 80) -> Iterator[str]:
    """What did not pass by layer and check, then the causes of what failed, then the counts.

    Args:
        run: the verdicts so far.
        width: columns of the terminal.
    """
    matrix = summary.matrix(run)
    passed = 0
    known: list[str] = []
    for row in matrix.rows:
        found: dict[str, list[str]] = {}
        for check, cell in zip(matrix.checks, row.cells, strict=True):
            if cell is not None and cell.tally.status != "passed":
                found.setdefault(cell.tally.status, []).append(check)
        if not found:
            passed += 1
        elif set(found) == {"known"}:
            known.append(row.layer)
        else:
            parts = (f"{summary.GLYPHS[s]} {s}: {', '.join(x)}" for s, x in found.items())
            yield from _wrapped(f"{row.layer}  {'; '.join(parts)}", width)
    glyph = summary.GLYPHS["known"]
    if known:
        text = f"{glyph} failed in part, as listed among the known failures: {', '.join(known)}"
        yield from _wrapped(text, width)
    if passed:
        layers = "layer" if passed == 1 else "layers"
        yield from _wrapped(
            f"{summary.GLYPHS['passed']} {passed} {layers} passed every check", width
        )
    bugs = summary.clusters(summary.listed(matrix), run.identity.layers)
    if bugs:
        yield ""
        text = f"{len(bugs)} likely cause{'s' if len(bugs) > 1 else ''} of failure:"
        yield from _wrapped(text, width)
        for number, bug in enumerate(bugs[:CAUSES], 1):
            yield from _cause(number, bug, width)
        if len(bugs) > CAUSES:
            yield f"… and {len(bugs) - CAUSES} more"
    yield ""
    counts = summary.counts(run)
    text = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    yield from _wrapped(text, width)


def _cause(number: int, bug: Cluster, width: int) -> Iterator[str]:
    first, items = bug.first, len(bug.items)
    layers = ", ".join((*bug.layers[:3], *(["…"] if len(bug.layers) > 3 else [])))
    count = "1 item" if items == 1 else f"{items} items"
    yield from _wrapped(f"{number}. {layers}: {bug.title} ({count})", width, "   ")
    if first.call:
        yield from _wrapped(f"   {_one_line(first.call)}", width, "     ")
    numbers = causes.numbers(first)
    if numbers is not None:
        parts = [f"got {numbers.got}", f"wanted {numbers.wanted}"]
        parts += [f"bound {numbers.bound}"] if numbers.bound else []
        text = f"   {numbers.what}: {', '.join(map(_one_line, parts))}"
        yield from _wrapped(text, width, "     ")
    yield from _needs(bug, width)
    if first.reference:
        yield f"   {first.reference}"
    yield f"   {first.id}"


def _needs(bug: Cluster, width: int) -> Iterator[str]:
    """What the failure needs, and how many cases have that."""
    needs = " and ".join((*bug.needs, *(["one of:"] if bug.one_of else [])))
    if bug.one_of:
        yield from _wrapped(f"   needs {needs}", width, "     ")
        for words, _, share in bug.alternatives:
            text = f"     {words}{f' ({share})' if share else ''}"
            yield from _wrapped(text, width, "       ")
    elif needs or bug.share:
        text = f"needs {needs}" if needs else "the plainest call fails"
        yield from _wrapped(f"   {text}{f' ({bug.share})' if bug.share else ''}", width, "     ")


def _one_line(text: str) -> str:
    return " ".join(visible(cut(text, LONGEST)).split())


def _wrapped(text: str, width: int, indent: str = "  ") -> Sequence[str]:
    return textwrap.wrap(
        visible(text), width, subsequent_indent=indent, break_on_hyphens=False,
        break_long_words=True, drop_whitespace=True,
    ) or [""]  # fmt: skip
