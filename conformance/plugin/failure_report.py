"""What pytest shows of a verdict: the text of a failure, and readable properties of the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.model.case import Verdict
from conformance.model.plain_text import bounded, visible
from conformance.plugin.shared import CARRIED
from conformance.reports.causes import needed, numbers
from conformance.reports.clusters import by_cause
from conformance.reports.text import cut

LONGEST = 2000
"""Characters of a property, at most."""
FAILURE = 20_000
"""Characters of a failure to show: a backend may raise an exception with a long message."""


def failure_text(verdict: Verdict) -> str:
    """Each cause of a failure with the arguments that it needs, then the command to repeat it."""
    told = "\nanother cause: ".join("\n".join(_lines(each)) for each in by_cause(verdict))
    status = "" if verdict.status == "failed" else f"{verdict.status}: "
    return f"{bounded(f'{status}{told}', FAILURE)}\n{visible(verdict.command or '')}"


def properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The properties of a test that did not pass: its call, and actual and expected numbers."""
    facts = {"call": verdict.call or ""}
    found = numbers(verdict)
    if found is not None:
        facts |= {"got": found.got, "wanted": found.wanted, "bound": found.bound}
    facts["needs"] = " and ".join(needed(verdict))
    yield from ((name, cut(visible(text), LONGEST)) for name, text in facts.items() if text)


def readable(properties: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The properties of pytest's report, without those that only carry data from a worker."""
    return [(name, value) for name, value in properties if name not in CARRIED]


def message_lines(verdict: Verdict, most: int, besides: str = "") -> list[str]:
    """The message of a failure without its call and without what another line shows.

    Args:
        most: number of lines to keep.
        besides: a line that the caller also shows; it may quote the backend's message.
    """
    lines = (verdict.message or "").removeprefix(f"{verdict.call}\n").splitlines()
    failure = verdict.failure
    # If an exception comes from another step than the call, the message names that step.
    told = failure is not None and (not failure.exception or failure.what == "call")
    says = failure.says.partition("\n")[0] if failure is not None and told else ""
    twice = says if says in besides else ""
    kept = [line for line in lines if line not in (besides, verdict.reference)]
    return [line for line in kept if not (twice and twice in line)][:most]


def _lines(verdict: Verdict) -> Iterator[str]:
    yield verdict.message or ""
    if needs := needed(verdict):
        yield f"needs {' and '.join(needs)}"
