"""The summary of a run on a terminal of 80 columns: what did not pass, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conformance.model.layer_facts import LayerFacts
from conformance.model.plain_text import visible
from conformance.plugin.failure_report import message_lines
from conformance.plugin.terminal_text import HEADING, TIED, Line, styled
from conformance.reports import causes, summary, support_gaps
from conformance.reports.clusters import Cluster
from conformance.reports.headline import shortened, whose
from conformance.reports.results import Run
from conformance.reports.text import cut

CAUSES = 12
"""Causes to show; the report and `nn-conformance summary` have all."""
LONGEST = 600
"""Characters of a call to show."""
NUMBER = 150
"""Characters of an actual or expected value to show."""
NAMED = 6
"""Layers with only known failures to name."""
LINES = 4
"""Lines of a message to show for a failure without numbers."""


def brief(run: Run, width: int = 80) -> Iterator[Line]:
    """What did not pass by layer and check, then the causes of failure, then the counts."""
    matrix = summary.matrix(run)
    yield from _layers(matrix, run.identity.layers, width)
    bugs = summary.clusters(summary.listed(matrix), run.identity.layers)
    if bugs:
        yield Line("")
        text = f"{len(bugs)} likely cause{'s' if len(bugs) > 1 else ''} of failure:"
        yield from styled(text, width, style=HEADING)
        for number, bug in enumerate(bugs[:CAUSES], 1):
            yield from _cause(number, bug, width)
        if len(bugs) > CAUSES:
            text = f"… and {len(bugs) - CAUSES} more: nn-conformance summary --all lists them"
            yield from styled(text, width)
    yield Line("")
    counts = summary.counts(run)
    text = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    yield from styled(text, width)


def _layers(matrix: summary.Matrix, facts: Mapping[str, LayerFacts], width: int) -> Iterator[Line]:
    """A line for each layer that did not pass everywhere, then a line for each common outcome."""
    alike: dict[str, list[str]] = {}
    for row in support_gaps.present(matrix):
        lacking = support_gaps.lacking(row)
        found: dict[str, list[str]] = {}
        for check, cell in zip(matrix.checks, row.cells, strict=True):
            if cell is None or cell.tally.status == "passed":
                continue
            if cell.tally.status != "unsupported" or check not in lacking:
                found.setdefault(cell.tally.status, []).append(check)
        tested = sum(cell is not None for cell in row.cells)
        passed = "supported" if "unsupported" in row.tally.statuses else "passed"
        (one, *more) = found or {passed: []}
        whole = one == "missing" and len(found[one]) == tested
        if not more and (one in (passed, "known") or whole):
            alike.setdefault(one, []).append(row.layer)
            continue
        worst = next((s for s in summary.SEVERITY if s in found), "")
        parts = (
            f"{summary.GLYPHS[s]} {s}: {'every check' if len(x) == tested > 1 else ', '.join(x)}"
            for s, x in found.items()
        )
        yield from styled(f"{row.layer}  {'; '.join(parts)}", width, style=worst)
    for lack in support_gaps.lacks(matrix):
        names = support_gaps.named(lack.layers, matrix.layers, facts)
        told = f"{_number(lack.layers)} not supported{lack.where}: {names}"
        text = f"{summary.GLYPHS['unsupported']} {told}"
        yield from styled(text, width, style="unsupported")
    for status, words in _ALIKE.items():
        layers = alike.get(status, [])
        if layers:
            told = words.format(layers=_number(layers))
            style = "passed" if status == "supported" else status
            if status == "known" and len(layers) > NAMED:
                told += " (-v names them)"
            elif style != "passed":
                told += f": {support_gaps.named(layers, matrix.layers, facts)}"
            yield from styled(f"{summary.GLYPHS[style]} {told}", width, style=style)


_ALIKE = {
    "missing": "{layers} without a verdict",
    "known": "{layers} failed in part, as listed among the known failures",
    "supported": "{layers} passed all that is supported of them",
    "passed": "{layers} passed every check",
}
"""Outcomes that layers have as a whole; one line names all layers with the same outcome."""


def _number(layers: Sequence[str]) -> str:
    return f"{len(layers)} layer{'' if len(layers) == 1 else 's'}"


def _cause(number: int, bug: Cluster, width: int) -> Iterator[Line]:
    first, items = bug.first, len(bug.items)
    layers = ", ".join((*bug.layers[:3], *(["…"] if len(bug.layers) > 3 else [])))
    count = f"{items}{TIED}item{'' if items == 1 else 's'}"
    title = f"{number}. {layers}: {shortened(_one_line(bug.title), LONGEST)} ({count})"
    yield from styled(title, width, "   ", style=bug.status)
    if first.call:
        yield from styled(f"   {_one_line(first.call)}", width, "     ")
    numbers = causes.numbers(first)
    if numbers is not None:
        yield from styled(f"   {_one_line(numbers.what)}", width, "     ")
        facts = {"got": numbers.got, "wanted": numbers.wanted, "bound": numbers.bound}
        for name, value in facts.items():
            if value:
                text = f"     {name:6} {shortened(_one_line(value), NUMBER)}"
                yield from styled(text, width, " " * 12)
    else:
        for text in message_lines(first, LINES, besides=bug.title):
            yield from styled(f"   {shortened(_one_line(text), NUMBER)}", width, "     ")
    yield from _needs(bug, width)
    if told := whose(first):
        yield from styled(f"   {told}", width, "     ")
    yield from styled(f"   {first.id}", width, "     ")


def _needs(bug: Cluster, width: int) -> Iterator[Line]:
    """The arguments that the failure needs, and the share of such cases that fail."""
    needs = " and ".join((*bug.needs, *(["one of:"] if bug.one_of else [])))
    if bug.one_of:
        yield from styled(f"   needs {needs}", width, "     ")
        for words, _, share in bug.alternatives:
            text = f"     {words}{f' ({share})' if share else ''}"
            yield from styled(text, width, "       ")
    elif needs or bug.share:
        text = f"needs {needs}" if needs else "the plainest call fails"
        yield from styled(f"   {text}{f' ({bug.share})' if bug.share else ''}", width, "     ")


def _one_line(text: str) -> str:
    return " ".join(visible(cut(text, LONGEST)).split())
