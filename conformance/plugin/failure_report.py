"""What pytest shows of a verdict: the text of a failure, and readable properties of the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.model.case import Verdict
from conformance.model.plain_text import bounded, visible
from conformance.plugin.shared import DATA_PROPERTIES
from conformance.reports.causes import needed_conditions, needs_relation, numbers
from conformance.reports.clusters import split_by_cause
from conformance.reports.text import cut

MAX_PROPERTY_LENGTH = 2000
"""Characters of a property, at most."""
MAX_FAILURE_LENGTH = 20_000
"""Characters of a failure to show: a backend may raise an exception with a long message."""


def failure_text(verdict: Verdict) -> str:
    """Each cause of a failure with the arguments that it needs, then the command to repeat it."""
    causes = "\nanother cause: ".join(
        "\n".join(_cause_lines(cause)) for cause in split_by_cause(verdict)
    )
    status = "" if verdict.status == "failed" else f"{verdict.status}: "
    return f"{bounded(f'{status}{causes}', MAX_FAILURE_LENGTH)}\n{visible(verdict.command or '')}"


def failure_properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The properties of a test that did not pass: its call, and actual and expected numbers."""
    facts = {"call": verdict.call or ""}
    comparison = numbers(verdict)
    if comparison is not None:
        facts |= {"got": comparison.got, "wanted": comparison.wanted, "bound": comparison.bound}
    facts["needs"] = " and ".join(needed_conditions(verdict))
    yield from (
        (name, cut(visible(text), MAX_PROPERTY_LENGTH)) for name, text in facts.items() if text
    )


def readable_properties(properties: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The properties of pytest's report, without those that only carry data from a worker."""
    return [(name, value) for name, value in properties if name not in DATA_PROPERTIES]


def message_lines(verdict: Verdict, limit: int, shown_line: str = "") -> list[str]:
    """The message of a failure without its call and without what another line shows.

    Args:
        limit: number of lines to keep.
        shown_line: a line that the caller also shows; it may quote the backend's message.
    """
    lines = (verdict.message or "").removeprefix(f"{verdict.call}\n").splitlines()
    failure = verdict.failure
    # If an exception comes from another step than the call, the message names that step.
    quotes_backend = failure is not None and (not failure.exception or failure.what == "call")
    backend_text = failure.says.partition("\n")[0] if failure is not None and quotes_backend else ""
    repeated_text = backend_text if backend_text in shown_line else ""
    remaining = [line for line in lines if line not in (shown_line, verdict.reference)]
    return [line for line in remaining if not (repeated_text and repeated_text in line)][:limit]


def _cause_lines(verdict: Verdict) -> Iterator[str]:
    yield verdict.message or ""
    if needs := needed_conditions(verdict):
        yield f"{needs_relation(verdict)} {' and '.join(needs)}"
