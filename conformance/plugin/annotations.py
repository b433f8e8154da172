"""Annotations of a GitHub job: one for each cause of failure, beside the job's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conformance.model.plain_text import visible
from conformance.plugin.failure_report import message_lines
from conformance.reports import causes, summary
from conformance.reports.clusters import Cluster
from conformance.reports.headline import cluster_title, whose_bug
from conformance.reports.results import Run
from conformance.reports.text import cut

MAX_ANNOTATIONS = 10
"""GitHub shows at most this number of annotations of a step."""
MAX_LINE_LENGTH = 1000
"""Characters of a line, at most."""
MAX_MESSAGE_LINES = 4
"""Lines of a message to show for a failure without numbers."""
_DATA_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY_ESCAPES = {**_DATA_ESCAPES, ":": "%3A", ",": "%2C"}


def is_github_job(environment: Mapping[str, str]) -> bool:
    """Whether the run is a step of a GitHub job."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotation_lines(run: Run) -> Iterator[str]:
    """Lines that GitHub turns into annotations; none for a conformant run.

    Known failures are not annotated, but a known failure that has gone stale is.
    """
    bugs = summary.clusters(summary.verdicts_with_status(summary.matrix(run)), run.identity.layers)
    level = "warning" if run.identity.survey else "error"
    listed = bugs if len(bugs) <= MAX_ANNOTATIONS else bugs[: MAX_ANNOTATIONS - 1]
    for bug in listed:
        yield _annotation(cluster_title(bug), *_detail_lines(bug), level=level)
    if len(bugs) > len(listed):
        hidden_count = len(bugs) - len(listed)
        title = f"{run.identity.backend}: {hidden_count} more causes of failure"
        yield _annotation(title, "See the job's log.", level=level)
    outcome = summary.outcome(run)
    if not bugs and outcome.name not in (summary.CONFORMANT, summary.SURVEYED):
        yield _annotation(f"{run.identity.backend}: {outcome.name}", outcome.sentence)


def _detail_lines(bug: Cluster) -> Iterator[str]:
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
        yield from message_lines(first, MAX_MESSAGE_LINES, shown_line=cluster_title(bug))
    if reference_note := whose_bug(first):
        yield reference_note
    count = len(bug.items)
    yield first.id if count == 1 else f"{first.id} and {count - 1} more"
    if first.command:
        yield first.command


def _annotation(title: str, *lines: str, level: str = "error") -> str:
    text = "\n".join(" ".join(visible(cut(line, MAX_LINE_LENGTH)).split()) for line in lines)
    title = " ".join(visible(title).split())
    return f"::{level} title={_escape(title, _PROPERTY_ESCAPES)}::{_escape(text, _DATA_ESCAPES)}"


def _escape(text: str, codes: Mapping[str, str]) -> str:
    return "".join(codes.get(character, character) for character in text)
