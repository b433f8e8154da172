"""What pytest is told of a verdict: the text of a failure, and readable properties of the test."""

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
"""Characters of a property."""
FAILURE = 20_000
"""Characters that are shown of a failure: what a backend raises may be long."""


def failure_text(verdict: Verdict) -> str:
    """Every cause of a failure with the arguments that it needs, then how to see it again.

    Args:
        verdict: of an item that did not pass.
    """
    told = "\nanother cause: ".join("\n".join(_lines(each)) for each in by_cause(verdict))
    status = "" if verdict.status == "failed" else f"{verdict.status}: "
    return f"{bounded(f'{status}{told}', FAILURE)}\n{visible(verdict.command or '')}"


def properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The call of a verdict that did not pass, and what was got in place of what, by name."""
    facts = {"call": verdict.call or ""}
    found = numbers(verdict)
    if found is not None:
        facts |= {"got": found.got, "wanted": found.wanted, "bound": found.bound}
    facts["needs"] = " and ".join(needed(verdict))
    yield from ((name, cut(visible(text), LONGEST)) for name, text in facts.items() if text)


def readable(properties: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The properties of a test without those that only carry data from a worker.

    Args:
        properties: as a report of pytest's has them.
    """
    return [(name, value) for name, value in properties if name not in CARRIED]


def message_lines(verdict: Verdict, most: int, besides: str = "") -> list[str]:
    """The message of a failure without its call, and without what other lines tell.

    Args:
        most: lines that are kept.
        besides: a line that is shown as well: what the backend says may stand in it.
    """
    lines = (verdict.message or "").removeprefix(f"{verdict.call}\n").splitlines()
    failure = verdict.failure
    # Of an exception anywhere but in the call the message names the step.
    told = failure is not None and (not failure.exception or failure.what == "call")
    says = failure.says.partition("\n")[0] if failure is not None and told else ""
    twice = says if says in besides else ""
    kept = [line for line in lines if line not in (besides, verdict.reference)]
    return [line for line in kept if not (twice and twice in line)][:most]


def _lines(verdict: Verdict) -> Iterator[str]:
    yield verdict.message or ""
    if needs := needed(verdict):
        yield f"needs {' and '.join(needs)}"
