"""The text of an issue about one failure, in Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Protocol

from conformance.reports.asked import CHECKS
from conformance.reports.results import Run
from conformance.reports.text import visible

from conformance.model.case import Verdict
from conformance.model.finding import Finding
from conformance.model.layer_facts import LayerFacts, unknown

TITLE = 160
MESSAGE = 8000
SCRIPT = 50_000
_LOST = {"crashed": "the process dies", "hung": "the call does not return"}


class Subject(Protocol):
    """What is reported: see `conformance.failures.explanation.Explanation`."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def call(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def failure(self) -> Finding | None: ...
    @property
    def script(self) -> str | None: ...
    @property
    def lacking(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def link(self) -> str: ...


def render(run: Run, subject: Subject, results: str = "RESULTS") -> str:
    """The issue's text: title, environment, script, expected, got, how it was found.

    Args:
        run: the results that hold the verdict.
        subject: the failure.
        results: name of the results file, for commands.
    """
    return "\n".join(_lines(run, subject, results)).rstrip() + "\n"


def fenced(text: str, language: str = "text", limit: int = MESSAGE) -> str:
    """Text as a code block that nothing in it can end.

    Args:
        text: anything.
        language: for colours.
        limit: characters that are kept.
    """
    text = visible(text).strip("\n")
    if len(text) > limit:
        text = f"{text[:limit]}\n… cut, {len(text)} characters"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code(text: str) -> str:
    """Text as a code span that nothing in it can end.

    Args:
        text: anything; line feeds become spaces.
    """
    text = " ".join(visible(text).split()) or " "
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def plain(text: str, limit: int = TITLE) -> str:
    """Text in one line, its Markdown and HTML characters escaped.

    Args:
        text: anything.
        limit: characters that are kept.
    """
    text = " ".join(visible(text).split())
    text = f"{text[:limit]}…" if len(text) > limit else text
    text = re.sub(r"([\\`*{}\[\]<>#|~@&])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it is no emphasis


def _lines(run: Run, subject: Subject, results: str) -> Iterator[str]:
    verdict, who = subject.verdict, run.identity
    yield f"# {plain(_title(subject), 2 * TITLE)}"
    yield ""
    if subject.reason:
        yield from (f"{plain(subject.reason, MESSAGE)}.", "")
    if subject.link:
        yield from (f"See also <{re.sub(r'[^!-;=?-~]', '', visible(subject.link))}>.", "")
    if whose := _whose(verdict):
        yield from (whose, "")
    yield from ("## Environment", "")
    facts = {
        "backend": who.backend,
        **{str(k): str(v) for k, v in who.info.items()},
        "torch": who.torch or "not installed",
        "NumPy": who.numpy,
        "Python": who.python,
        "OS": who.os,
        "CPU": who.cpu,
        "device, dtype": f"{verdict.device}, {verdict.dtype}",
    }
    declared = who.numerics.get(verdict.dtype)
    if declared:
        facts["numerics declared"] = ", ".join(f"{k} = {v}" for k, v in declared.items())
    yield from (f"- {plain(name)}: {code(value)}" for name, value in facts.items())
    yield from ("", "## Minimal script", "")
    if subject.script:
        if subject.lacking:
            yield from (subject.lacking, "")
        yield fenced(subject.script, "python", SCRIPT)
    else:
        yield "There is no script that stands on its own; the call is below."
    yield from ("", "## Expected", "")
    yield from _expected(verdict, run.identity.layers.get(verdict.layer) or unknown(verdict.layer))
    yield from ("", "## Got", "")
    if subject.call:
        yield from (fenced(subject.call), "")
    yield fenced(_got(subject) or "no message")
    yield from ("", "## How it was found", "")
    yield from _found(run, verdict, results)


def _whose(verdict: Verdict) -> str:
    """Whose bug it is, where the suite compared with another backend."""
    base = next((e.base for e in verdict.excuses if e.base and e.excused), "")
    if base:
        return f"The failure is inherited: {plain(base)} fails alike on the same calls."
    name, _, answer = (verdict.reference or "").partition(": ")
    if answer == "same":
        return f"{plain(name)} does the same with this call: the bug is {plain(name)}'s."
    if answer == "differs":
        return f"{plain(name)} answers this call otherwise: the bug is not {plain(name)}'s."
    return ""


def _title(subject: Subject) -> str:
    verdict = subject.verdict
    accepted = subject.failure is not None and subject.failure.accepted
    words = "a valid call is accepted, then fails" if accepted else _LOST.get(verdict.status)
    words = words or CHECKS.get(verdict.check, (f"{verdict.check} fails",))[0]
    reason = re.split(r"[;:(]", subject.reason)[0].strip()
    headline = f"{words}: {reason}" if reason else words
    return f"{verdict.layer} ({verdict.dtype}, {verdict.device}): {headline}"


def _expected(verdict: Verdict, facts: LayerFacts) -> Iterator[str]:
    lines = facts.formula
    if lines:
        yield f"[torch.nn.{plain(verdict.layer)}]({facts.page}) is documented as"
        yield ""
        yield fenced("\n".join(lines))
        yield ""
    if verdict.check in CHECKS:
        yield CHECKS[verdict.check][1]


def _got(subject: Subject) -> str:
    """The message without the call, which stands above it."""
    return subject.message.removeprefix(f"{subject.call}\n")


def _found(run: Run, verdict: Verdict, results: str) -> Iterator[str]:
    who = run.identity
    yield (
        f"By nn-conformance {plain(who.suite)}, check {code(verdict.check)}, which draws valid "
        f"calls at random (seed {who.seed}, {who.examples} examples) and compares what comes out "
        "with NumPy oracles of the documented formulas; the call is the plainest that it found."
    )
    if verdict.command:
        yield from ("", fenced(verdict.command, "sh"))
    if verdict.case is not None:
        replayed = shlex.join(["nn-conformance", "replay", results, verdict.id])
        yield from ("", "The minimal case alone:", "", fenced(replayed, "sh"))
