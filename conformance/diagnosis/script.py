"""A recorded check as a script that exits 1 on the failure and 0 without it."""

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
    """Whether numbers are one of several right ones, each within its bound."""
    with np.errstate(all="ignore"):
        found = [
            (got == value) | ((got != got) & (value != value)) | (abs(got - value) <= bound)
            for value, bound in ways
        ]
    return np.any(found, axis=0)
'''
_FORM = '''
def form(result):
    """What there is of a result: None, tensors, and what holds them."""
    if isinstance(result, dict):
        return [(key, form(part)) for key, part in result.items()]
    if isinstance(result, (tuple, list)):
        return tuple(map(form, result))
    return None if result is None else "tensor"
'''
_HELPERS = {"near": _NEAR, "form": _FORM}
_NAMED = re.compile(r"\b[axygsfu]\d+\b")
# What depends on the values that a layer drew for itself.
_NUMERIC = ("value", "gradient", "bits", "sign", "exception", "other")
DRAWS = 20
"""How often a script draws random numbers anew where nothing fixes them."""


class Printer(Protocol):
    """Writes steps as code.

    Attributes:
        declined: the exception by which a backend declines a call; empty where there is none.
        helpers: functions that the code may use, by name; those that use others come later.
    """

    declined: str
    helpers: Mapping[str, str]

    def head(self) -> Sequence[str]:
        """Imports and what else comes first."""

    def step(self, step: Step) -> Sequence[str]:
        """The lines of a step that gave what it was asked for, or is to be tried."""


def script(
    title: Sequence[str],
    transcript: Transcript,
    printer: Printer,
    finding: Finding | None = None,
    proof: Proof | None = None,
    ending: str = "",
    draws: int = 1,
) -> str:
    """The script.

    Args:
        title: lines of its docstring.
        transcript: what was done.
        printer: how that is written.
        finding: what came of it; None where nothing can be judged: the last step ends the process.
        proof: how it shows in the numbers; None = every fact and number is as it was.
        ending: what the script prints at its end where there is no finding.
        draws: how often all is done until it fails.
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
    """Of a step that raised what the check went on after, too."""
    lines = printer.step(step)
    if step.error is None or not lines:
        return lines
    return ["with contextlib.suppress(Exception):", *_indented(lines)]


def _with_what_was_drawn(steps: Sequence[Step]) -> Iterator[Step]:
    """A layer built without a state is given the one that it drew."""
    for step in steps:
        yield step
        if step.initial:
            yield Step("load", step.layer, step.call, (step.initial,))


def _with_state(steps: Sequence[Step], state: Mapping[str, np.ndarray]) -> list[Step]:
    """The last call finds the state that it found, whatever the calls before it made of it."""
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
    """Steps up to the last that is looked at; of those that only read, the ones that matter."""
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
    """The last step raised something."""
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
    """An invalid call: refused, accepted, or ended in an exception that is no refusal."""
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
