"""The text of an issue about one failure, in Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from conformance.reports.causes import independent_arguments, needed_conditions, needs_relation
from conformance.reports.clusters import split_by_cause
from conformance.reports.headline import issue_title, whose_bug
from conformance.reports.results import Run

from conformance.model.case import Verdict
from conformance.model.cause import CALL_NEEDS
from conformance.model.checks import facts_of
from conformance.model.finding import Finding
from conformance.model.layer_facts import LayerFacts, facts_of_unknown_layer
from conformance.model.plain_text import visible
from conformance.model.usage_error import UsageError

TITLE = 160
MESSAGE = 8000
SCRIPT = 50_000


class Subject(Protocol):
    """The failure to report; see `conformance.commands.explanation.Explanation`."""

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


def render(run: Run, subject: Subject, results: str = "RESULTS", cause: int = 1) -> str:
    """Render the issue: title, environment, script, expected, got, how it was found.

    `results` is the name of the results file in commands. `cause` is the number of the cause among
    those of the verdict; only the first can be replayed.
    """
    return "\n".join(_lines(run, subject, results, cause)).rstrip() + "\n"


def run_of_cause(run: Run, id: str, number: int) -> tuple[Run, int]:
    """Reduce a verdict of a run to one of its causes; return the run and the number of causes.

    `id` is as in `Run.verdict`, and causes are numbered from 1.

    Raises:
        UsageError: if the verdict has no cause of that number.
    """
    verdict = run.verdict(id)
    causes = split_by_cause(verdict)
    if not 1 <= number <= len(causes):
        raise UsageError(f"--cause {number}: {verdict.id} has causes 1 to {len(causes)}")
    single = causes[number - 1]
    verdicts = tuple(
        single if verdict_or_single is verdict else verdict_or_single
        for verdict_or_single in run.verdicts
    )
    return replace(run, verdicts=verdicts), len(causes)


def code_block(text: str, language: str = "text", limit: int = MESSAGE) -> str:
    """Format any text as a code block that the text cannot end; keep `limit` characters."""
    text = visible(text).strip("\n")
    if len(text) > limit:
        text = f"{text[:limit]}\n… cut, {len(text)} characters"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def backend_option(run: Run) -> list[str]:
    """The option that names a run's backend, if that is not the name of an installed one.

    Results are not trusted: commands do not import a backend that only a results file names.
    """
    name = run.identity.options.get("backend", "")
    return [f"--backend={visible(name)}"] if ":" in name else []


def code_span(text: str) -> str:
    """Format any text as a code span that the text cannot end; line feeds become spaces."""
    text = " ".join(visible(text).split()) or " "
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def plain_text(text: str, limit: int = TITLE) -> str:
    """Format any text as one line with Markdown and HTML escaped; keep `limit` characters."""
    text = " ".join(visible(text).split())
    text = f"{text[:limit]}…" if len(text) > limit else text
    text = re.sub(r"([\\`*{}\[\]<#|~@&]|^>)", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word, _ is not markup


def _lines(run: Run, subject: Subject, results: str, cause: int) -> Iterator[str]:
    verdict, who = subject.verdict, run.identity
    title = issue_title(verdict, subject.failure, subject.reason)
    yield f"# {plain_text(title, 2 * TITLE)}"
    yield ""
    if subject.reason:
        yield from (f"{plain_text(subject.reason, MESSAGE)}.", "")
    if subject.link:
        yield from (f"See also <{re.sub(r'[^!-;=?-~]', '', visible(subject.link))}>.", "")
    if culprit := whose_bug(verdict):
        yield from (plain_text(culprit), "")
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
    yield from (f"- {plain_text(name)}: {code_span(value)}" for name, value in facts.items())
    yield from ("", "## Minimal script", "")
    if subject.script:
        if subject.lacking:
            yield from (subject.lacking, "")
        yield code_block(subject.script, "python", SCRIPT)
    else:
        yield "There is no standalone script; the call is below."
    yield from ("", "## Expected", "")
    yield from _expected(
        verdict, run.identity.layers.get(verdict.layer) or facts_of_unknown_layer(verdict.layer)
    )
    yield from ("", "## Got", "")
    if subject.call:
        yield from (code_block(subject.call), "")
    yield code_block(_message_without_call(subject) or "no message")
    yield from _needs_lines(verdict)
    yield from ("", "## How it was found", "")
    yield from _found_by_lines(run, subject, results if cause == 1 else "")


def _expected(verdict: Verdict, facts: LayerFacts) -> Iterator[str]:
    lines = facts.formula
    if lines:
        name = plain_text(verdict.layer)
        yield f"{f'[torch.nn.{name}]({facts.page})' if facts.page else name} is documented as"
        yield ""
        yield code_block("\n".join(lines))
        yield ""
    if question := facts_of(verdict.check).question:
        yield question


def _needs_lines(verdict: Verdict) -> Iterator[str]:
    """The conditions that the failure needs, and arguments that do not matter."""
    if needs := needed_conditions(verdict):
        relation = needs_relation(verdict)
        opening = "This call needs" if relation == CALL_NEEDS else f"It {relation}"
        yield from ("", f"{opening} {' and '.join(map(code_span, needs))}.")
    if others := independent_arguments(verdict):
        yield from ("", f"It also fails with other values of {', '.join(map(code_span, others))}.")


def _message_without_call(subject: Subject) -> str:
    """The message without the call, which the report shows above it."""
    return subject.message.removeprefix(f"{subject.call}\n")


def _found_by_lines(run: Run, subject: Subject, results: str) -> Iterator[str]:
    who, verdict = run.identity, subject.verdict
    refusal = subject.failure is not None and subject.failure.kind == "refusal"
    kind = "invalid" if refusal else "valid"
    method = (
        "checks that they are refused"
        if refusal
        else "compares the results with NumPy oracles of the documented formulas"
    )
    yield (
        f"By nn-conformance {plain_text(who.suite)}, check {code_span(verdict.check)}, which draws "
        f"{kind} calls at random (seed {who.seed}, {who.examples} examples) and {method}; the call "
        "is the simplest that it found."
    )
    if verdict.command:
        yield from ("", code_block(verdict.command, "sh"))
    if verdict.case is not None and results:
        replayed = shlex.join(
            ["nn-conformance", "replay", results, verdict.id, *backend_option(run)]
        )
        yield from ("", "The minimal case alone:", "", code_block(replayed, "sh"))
