"""Write a recorded check as a script that exits with 1 if the failure occurs, else with 0."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from conformance.diagnosis.literals import literal, safe
from conformance.diagnosis.script_assertions import judged
from conformance.diagnosis.transcript import FACTS, Step, Transcript
from conformance.model.case import Unsupported
from conformance.model.finding import Finding
from conformance.model.proof import Proof
from conformance.model.untrusted import of_type

_NEAR = '''
def near(got, ways):
    """Whether numbers are within the bound of one of several right values."""
    with np.errstate(all="ignore"):
        found = [
            (got == value) | ((got != got) & (value != value)) | (abs(got - value) <= bound)
            for value, bound in ways
        ]
    return np.any(found, axis=0)
'''
_FORM = '''
def form(result):
    """The structure of a result: None, "tensor", and containers of these."""
    if isinstance(result, dict):
        return [(key, form(part)) for key, part in result.items()]
    if isinstance(result, (tuple, list)):
        return tuple(map(form, result))
    return None if result is None else "tensor"
'''
_HELPERS = {"near": _NEAR, "form": _FORM}
_NAMED = re.compile(r"\b[axygsfu]\d+\b")
# Kinds of findings that depend on initial values that a layer draws.
_NUMERIC = ("value", "gradient", "bits", "sign", "exception", "other")
DRAWS = 20
"""How often a script repeats its steps if random numbers cannot be seeded."""


class Printer(Protocol):
    """Writes steps as code.

    Attributes:
        declined: name of the exception by which a backend declines a call; empty if there is none.
        helpers: functions that the code may use, by name; a function comes after those it uses.
    """

    declined: str
    helpers: Mapping[str, str]

    def head(self) -> Sequence[str]:
        """The imports and settings at the beginning of the script."""

    def step(self, step: Step) -> Sequence[str]:
        """The lines of one step."""


def script(
    title: Sequence[str],
    transcript: Transcript,
    printer: Printer,
    finding: Finding | None = None,
    proof: Proof | None = None,
    ending: str = "",
    draws: int = 1,
) -> str:
    """Write the script.

    Args:
        title: lines of its docstring.
        transcript: the recorded steps.
        printer: writes a step as code.
        finding: what is wrong; None if the script cannot decide, as when a step ends the process.
        proof: the comparison that shows the finding; None = the script compares every fact and
            number with its recorded value.
        ending: the text that the script prints at its end if there is no finding.
        draws: how often the script repeats the steps until they fail.
    """
    steps = [s for s in transcript.steps if not isinstance(s.error, Unsupported)]
    if finding is not None and finding.kind in _NUMERIC:
        steps = list(_with_what_was_drawn(steps))
    if proof is not None and proof.state:
        steps = _with_state(steps, proof.state)
    if finding is not None and finding.kind == "refusal":
        return _assembled(title, printer, _refused(steps, printer, finding, proof))
    if finding is not None and steps and steps[-1].error is not None:
        return _assembled(title, printer, _raising(steps, printer))
    lines, proved = [f"print({ending!r})"], False
    kept = [s for s in steps if s.member != "get" or s is steps[-1]]
    if finding is not None:
        found, proved = judged(transcript, proof, finding)
        lines, kept = ["", *found], _used(steps, "\n".join(found))
    lines = [*(line for step in kept for line in _lines(step, printer)), *lines]
    if proved and draws > 1:
        lines += ["if failed:", "    break"]
        lines = [f"for _ in range({draws}):  # random numbers are drawn", *_indented(lines)]
    return _assembled(title, printer, lines + ([] if finding is None else _END))


_END = ['print("FAILED" if failed else "passed")', "raise SystemExit(1 if failed else 0)"]


def _lines(step: Step, printer: Printer) -> Sequence[str]:
    """The lines of a step; an exception after which the check continued is suppressed."""
    lines = printer.step(step)
    if step.error is None or not lines:
        return lines
    return ["with contextlib.suppress(Exception):", *_indented(lines)]


def _with_what_was_drawn(steps: Sequence[Step]) -> Iterator[Step]:
    """Load the recorded initial values after each step that builds a layer without a state."""
    for step in steps:
        yield step
        if step.initial:
            yield Step("load", step.layer, step.call, (step.initial,))


def _with_state(steps: Sequence[Step], state: Mapping[str, np.ndarray]) -> list[Step]:
    """Load the recorded state before the last call, whatever the earlier calls left."""
    place = max(k for k, step in enumerate(steps) if step.member == "call")
    step = steps[place]
    return [*steps[:place], Step("load", step.layer, step.call, (state,)), *steps[place:]]


def _assembled(title: Sequence[str], printer: Printer, body: Sequence[str]) -> str:
    if printer.declined:
        body = ["with declining():", *_indented(body)]
    source = "\n".join(body)
    helpers: list[str] = []
    for name, text in reversed({**printer.helpers, **_HELPERS}.items()):
        if f"{name}(" in "\n".join([source, *helpers]):
            helpers.insert(0, text.strip("\n"))
    whole = "\n".join([source, *helpers])
    head = [*(["import contextlib", ""] if "contextlib." in whole else []), *printer.head()]
    title = ['"""' + safe("\n".join(title)), '"""']
    return "\n\n".join(["\n".join(title), "\n".join(head), *helpers, source]) + "\n"


def _used(steps: Sequence[Step], judged: str) -> list[Step]:
    """The steps up to the last one whose result is used; steps that only read if they are used."""
    wanted = set(_NAMED.findall(judged))
    last = max((k for k, step in enumerate(steps) if step.name in wanted), default=len(steps) - 1)
    kept: list[Step] = []
    for step in reversed(steps[: last + 1]):
        reads = step.member in ("get", "put", "state", "updated", *FACTS)
        if reads and step.name not in wanted:
            continue
        kept.append(step)
        wanted |= set(_NAMED.findall(literal([step.arguments, dict(step.keywords)])))
    return kept[::-1]


def _raising(steps: Sequence[Step], printer: Printer) -> list[str]:
    """The lines of a script whose last step raises the exception that failed."""
    kept = _used(steps, literal([steps[-1].arguments, dict(steps[-1].keywords)]))
    before = [line for step in kept if step is not steps[-1] for line in _lines(step, printer)]
    kind = "Exception" if of_type(steps[-1].error, Exception) else "BaseException"
    return [
        *before,
        "try:",
        *_indented(printer.step(steps[-1])),
        *_passing_on(printer),
        f"except {kind} as error:",
        '    print(f"{type(error).__name__}: {error}")',
        '    print("FAILED")',
        "    raise SystemExit(1) from None",
        'print("passed")',
    ]


def _passing_on(printer: Printer) -> list[str]:
    return [f"except {printer.declined}:", "    raise"] if printer.declined else []


def _refused(
    steps: Sequence[Step], printer: Printer, finding: Finding, proof: Proof | None
) -> list[str]:
    """The lines for an invalid call: it must raise one of the exceptions that refuse a call."""
    ends = next((k for k, step in enumerate(steps) if step.error is not None), len(steps) - 1)
    done = steps[: ends + 1]
    lines = [line for step in done for line in printer.step(step)]
    kinds = (ValueError, TypeError, RuntimeError) if proof is None else proof.refusals
    others = [kind for kind in kinds if kind.__module__ != "builtins"]
    shapes = [f"{step.name}.shape" for step in done if step.member == "get" and not step.error]
    given = f'"output of shape", {", ".join(shapes)}' if shapes else '""'
    return [
        *(f"from {kind.__module__} import {kind.__name__}" for kind in others),
        "try:",
        *_indented(lines),
        *_passing_on(printer),
        f"except ({', '.join(kind.__name__ for kind in kinds)}) as error:",
        '    print("passed: refused:", error)',
        "    raise SystemExit(0) from None",
        "except Exception as error:",
        '    print(f"FAILED: {type(error).__name__}: {error}; a refusal was expected")',
        "    raise SystemExit(1) from None",
        f'print("FAILED: accepted, a refusal was expected;", {given})',
        "raise SystemExit(1)",
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return textwrap.indent("\n".join(lines), "    ").splitlines()
