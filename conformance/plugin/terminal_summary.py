"""The summary of a run on a terminal of 80 columns: what did not pass, and why."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from conformance.model.layer_facts import LayerFacts
from conformance.model.plain_text import visible
from conformance.plugin.failure_report import message_lines
from conformance.plugin.terminal_text import HEADING, NO_BREAK_SPACE, Line, styled
from conformance.reports import causes, summary, support_gaps
from conformance.reports.clusters import Cluster
from conformance.reports.headline import shorten, whose_bug
from conformance.reports.results import Run
from conformance.reports.text import cut

MAX_CAUSES = 12
"""Causes to show; the report and `nn-conformance summary` have all."""
MAX_CALL_LENGTH = 600
"""Characters of a call to show."""
MAX_NUMBER_LENGTH = 150
"""Characters of an actual or expected value to show."""
MAX_NAMED_KNOWN = 6
"""Layers with only known failures to name."""
MAX_MESSAGE_LINES = 4
"""Lines of a message to show for a failure without numbers."""


def summary_lines(run: Run, width: int = 80, *, in_full: bool = False) -> Iterator[Line]:
    """What did not pass, then the causes of failure, what is not supported, and the counts.

    With `in_full`, all layers are named.
    """
    matrix = summary.matrix(run)
    yield from _layer_lines(matrix, run.identity.layers, width, in_full=in_full)
    bugs = summary.clusters(summary.verdicts_with_status(matrix), run.identity.layers)
    if bugs:
        yield Line("")
        text = f"{len(bugs)} likely cause{'s' if len(bugs) > 1 else ''} of failure:"
        yield from styled(text, width, style=HEADING)
        for number, bug in enumerate(bugs[:MAX_CAUSES], 1):
            yield from _cause_lines(number, bug, width)
        if len(bugs) > MAX_CAUSES:
            yield from _more_causes_lines(run, len(bugs) - MAX_CAUSES, width)
    yield Line("")
    yield from _gap_lines(matrix, run.identity.layers, width, in_full=in_full)
    counts = summary.count_statuses(run)
    text = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    yield from styled(text, width)


def _more_causes_lines(run: Run, count: int, width: int) -> Iterator[Line]:
    """The number of causes that do not show, and the command that lists them."""
    results = run.identity.options.get("results")
    if results is None:
        text = f"… and {count} more; a run with --conformance-results=FILE records them"
        yield from styled(text, width)
        return
    # A command is one line, so that it can be copied.
    yield Line(f"… and {count} more:")
    yield Line(f"  {visible(shlex.join(['nn-conformance', 'summary', results, '--all']))}")


def _layer_lines(
    matrix: summary.Matrix, facts: Mapping[str, LayerFacts], width: int, *, in_full: bool
) -> Iterator[Line]:
    """A line for each layer that did not pass everywhere, then a line for each common outcome."""
    layers_by_outcome: dict[str, list[str]] = {}
    for row in support_gaps.supported_rows(matrix):
        unsupported_checks = support_gaps.unsupported_parts(row)
        checks_by_status: dict[str, list[str]] = {}
        for check, cell in zip(matrix.checks, row.cells, strict=True):
            if cell is None or cell.tally.status == "passed":
                continue
            if cell.tally.status != "unsupported" or check not in unsupported_checks:
                checks_by_status.setdefault(cell.tally.status, []).append(check)
        tested = sum(cell is not None for cell in row.cells)
        passed = "supported" if "unsupported" in row.tally.statuses else "passed"
        (first_status, *other_statuses) = checks_by_status or {passed: []}
        is_all_missing = first_status == "missing" and len(checks_by_status[first_status]) == tested
        if not other_statuses and (first_status in (passed, "known") or is_all_missing):
            layers_by_outcome.setdefault(first_status, []).append(row.layer)
            continue
        worst = next((s for s in summary.SEVERITY if s in checks_by_status), "")
        parts = (
            f"{summary.GLYPHS[s]} {s}: {'every check' if len(x) == tested > 1 else ', '.join(x)}"
            for s, x in checks_by_status.items()
        )
        yield from styled(f"{row.layer}  {'; '.join(parts)}", width, style=worst)
    for status, words in _OUTCOME_SENTENCES.items():
        layers = layers_by_outcome.get(status, [])
        if layers:
            sentence = words.format(layers=_layer_count(layers))
            style = "passed" if status == "supported" else status
            if status == "known" and len(layers) > MAX_NAMED_KNOWN and not in_full:
                sentence += " (-v names them)"
            elif style != "passed":
                sentence += f": {support_gaps.format_layers(layers, matrix.layers, facts)}"
            yield from styled(f"{summary.GLYPHS[style]} {sentence}", width, style=style)


def _gap_lines(
    matrix: summary.Matrix, facts: Mapping[str, LayerFacts], width: int, *, in_full: bool
) -> Iterator[Line]:
    """A line for each gap in the backend's support; `in_full` also names many layers."""
    format_layers = support_gaps.format_layers if in_full else support_gaps.format_few_layers
    for gap in support_gaps.support_gaps(matrix):
        names = format_layers(gap.layers, matrix.layers, facts)
        text = f"{summary.GLYPHS['unsupported']} {_layer_count(gap.layers)} not supported"
        text += f"{gap.where}{f': {names}' if names else ' (-v names them)'}"
        yield from styled(text, width, style="unsupported")


_OUTCOME_SENTENCES = {
    "missing": "{layers} without a verdict",
    "known": "{layers} failed in part, as listed among the known failures",
    "supported": "{layers} passed all that is supported of them",
    "passed": "{layers} passed every check",
}
"""Outcomes that layers have as a whole; one line names all layers with the same outcome."""


def _layer_count(layers: Sequence[str]) -> str:
    return f"{len(layers)} layer{'' if len(layers) == 1 else 's'}"


def _cause_lines(number: int, bug: Cluster, width: int) -> Iterator[Line]:
    first, items = bug.first, len(bug.items)
    layers = ", ".join((*bug.layers[:3], *(["…"] if len(bug.layers) > 3 else [])))
    count = f"{items}{NO_BREAK_SPACE}item{'' if items == 1 else 's'}"
    title = f"{number}. {layers}: {shorten(_one_line(bug.title), MAX_CALL_LENGTH)} ({count})"
    yield from styled(title, width, "   ", style=bug.status)
    if first.call:
        yield from styled(f"   {_one_line(first.call)}", width, "     ")
    if operands := causes.small_operands(first):
        yield from styled(f"   {_one_line(operands)}", width, "     ")
    numbers = causes.numbers(first)
    if numbers is not None:
        yield from styled(f"   {_one_line(numbers.what)}", width, "     ")
        facts = {"got": numbers.got, "wanted": numbers.wanted, "bound": numbers.bound}
        for name, value in facts.items():
            if value:
                text = f"     {name:6} {shorten(_one_line(value), MAX_NUMBER_LENGTH)}"
                yield from styled(text, width, " " * 12)
    else:
        for text in message_lines(first, MAX_MESSAGE_LINES, shown_line=bug.title):
            yield from styled(f"   {shorten(_one_line(text), MAX_NUMBER_LENGTH)}", width, "     ")
    for text in bug.law_statements:
        yield from styled(f"   also fails: {_one_line(text)}", width, "     ")
    yield from _needs_lines(bug, width)
    if reference_note := whose_bug(first):
        yield from styled(f"   {reference_note}", width, "     ")
    yield from styled(f"   {first.id}", width, "     ")


def _needs_lines(bug: Cluster, width: int) -> Iterator[Line]:
    """The conditions of the failure, and how many failing and passing cases meet them."""
    needs = " and ".join((*bug.needs, *(["one of:"] if bug.one_of else [])))
    if bug.one_of:
        yield from styled(f"   {bug.relation} {needs}", width, "     ")
        for words, _, share in bug.alternatives:
            text = f"     {words}{f' ({share})' if share else ''}"
            yield from styled(text, width, "       ")
    elif needs or bug.share:
        text = f"{bug.relation} {needs}" if needs else "the plainest call fails"
        yield from styled(f"   {text}{f' ({bug.share})' if bug.share else ''}", width, "     ")


def _one_line(text: str) -> str:
    return " ".join(visible(cut(text, MAX_CALL_LENGTH)).split())
