"""Annotations of a GitHub job: one for each cause of failure, beside the job's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conformance.model.plain_text import visible
from conformance.plugin.failure_report import message_lines
from conformance.reports import causes, summary
from conformance.reports.clusters import Cluster
from conformance.reports.headline import headline, whose
from conformance.reports.results import Run
from conformance.reports.text import cut

MOST = 10
"""GitHub shows at most this number of annotations of a step."""
LONGEST = 1000
"""Characters of a line, at most."""
LINES = 4
"""Lines of a message to show for a failure without numbers."""
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the run is a step of a GitHub job."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotated(run: Run) -> Iterator[str]:
    """Lines that GitHub turns into annotations; none for a conformant run.

    Known failures are not annotated, but a known failure that has gone stale is.
    """
    bugs = summary.clusters(summary.listed(summary.matrix(run)), run.identity.layers)
    level = "warning" if run.identity.survey else "error"
    shown = bugs if len(bugs) <= MOST else bugs[: MOST - 1]
    for bug in shown:
        yield _error(headline(bug), *_lines(bug), level=level)
    if len(bugs) > len(shown):
        rest = len(bugs) - len(shown)
        title = f"{run.identity.backend}: {rest} more causes of failure"
        yield _error(title, "See the job's log.", level=level)
    outcome = summary.outcome(run)
    if not bugs and outcome.name not in (summary.CONFORMANT, summary.SURVEYED):
        yield _error(f"{run.identity.backend}: {outcome.name}", outcome.sentence)


def _lines(bug: Cluster) -> Iterator[str]:
    first = bug.first
    if first.call:
        yield first.call
    numbers = causes.numbers(first)
    if numbers is not None:
        yield numbers.what
        yield f"got {numbers.got}"
        yield f"wanted {numbers.wanted}"
        if numbers.bound:
            yield f"bound {numbers.bound}"
    else:
        yield from message_lines(first, LINES, besides=headline(bug))
    if told := whose(first):
        yield told
    count = len(bug.items)
    yield first.id if count == 1 else f"{first.id} and {count - 1} more"
    if first.command:
        yield first.command


def _error(title: str, *lines: str, level: str = "error") -> str:
    text = "\n".join(" ".join(visible(cut(line, LONGEST)).split()) for line in lines)
    title = " ".join(visible(title).split())
    return f"::{level} title={_escaped(title, _PROPERTY)}::{_escaped(text, _DATA)}"


def _escaped(text: str, codes: Mapping[str, str]) -> str:
    return "".join(codes.get(character, character) for character in text)
