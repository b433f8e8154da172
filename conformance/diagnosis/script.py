"""Write a recorded check as a script that exits with 1 if the failure occurs, else with 0."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from conformance.diagnosis.literals import escape_for_docstring, literal
from conformance.diagnosis.script_assertions import assertion_lines
from conformance.diagnosis.transcript import FACT_MEMBERS, Step, Transcript
from conformance.model.case import Unsupported
from conformance.model.finding import Finding
from conformance.model.proof import Proof
from conformance.model.untrusted import is_of_type

_NEAR_HELPER = '''
def near(got, ways):
    """Whether numbers are within the bound of one of several right values."""
    with np.errstate(all="ignore"):
        found = [
            (got == value) | ((got != got) & (value != value)) | (abs(got - value) <= bound)
            for value, bound in ways
        ]
    return np.any(found, axis=0)
'''
_FORM_HELPER = '''
def form(result):
    """The structure of a result: None, "tensor", and containers of these."""
    if isinstance(result, dict):
        return [(key, form(part)) for key, part in result.items()]
    if isinstance(result, (tuple, list)):
        return tuple(map(form, result))
    return None if result is None else "tensor"
'''
_HELPERS = {"near": _NEAR_HELPER, "form": _FORM_HELPER}
_RESULT_NAME = re.compile(r"\b[axygsfu]\d+\b")
# Kinds of findings that depend on initial values that a layer draws.
_VALUE_DEPENDENT_KINDS = ("value", "gradient", "bits", "sign", "exception", "other")
MAX_DRAWS = 20
"""How often a script repeats its steps if random numbers cannot be seeded."""


class Printer(Protocol):
    """Writes steps as code.

    Attributes:
        declining_exception: name of the exception by which a backend declines a call; empty if
            there is none.
        helpers: functions that the code may use, by name; a function comes after those it uses.
    """

    declining_exception: str
    helpers: Mapping[str, str]

    def header_lines(self) -> Sequence[str]:
        """The imports and settings at the beginning of the script."""

    def step_lines(self, step: Step) -> Sequence[str]:
        """The lines of one step."""


def build_script(
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
    if finding is not None and finding.kind in _VALUE_DEPENDENT_KINDS:
        steps = list(_with_initial_values(steps))
    if proof is not None and proof.state:
        steps = _with_state(steps, proof.state)
    if finding is not None and finding.kind == "refusal":
        return _assemble(title, printer, _lines_of_invalid_call(steps, printer, finding, proof))
    if finding is not None and steps and steps[-1].error is not None:
        return _assemble(title, printer, _lines_of_raising_step(steps, printer))
    lines, uses_proof = [f"print({ending!r})"], False
    steps_to_write = [s for s in steps if s.member != "get" or s is steps[-1]]
    if finding is not None:
        assertions, uses_proof = assertion_lines(transcript, proof, finding)
        lines, steps_to_write = ["", *assertions], _used_steps(steps, "\n".join(assertions))
    lines = [*(line for step in steps_to_write for line in _step_lines(step, printer)), *lines]
    if uses_proof and draws > 1:
        lines += ["if failed:", "    break"]
        lines = [f"for _ in range({draws}):  # random numbers are drawn", *_indent(lines)]
    return _assemble(title, printer, lines + ([] if finding is None else _EXIT_LINES))


_EXIT_LINES = ['print("FAILED" if failed else "passed")', "raise SystemExit(1 if failed else 0)"]


def _step_lines(step: Step, printer: Printer) -> Sequence[str]:
    """The lines of a step; an exception after which the check continued is suppressed."""
    lines = printer.step_lines(step)
    if step.error is None or not lines:
        return lines
    return ["with contextlib.suppress(Exception):", *_indent(lines)]


def _with_initial_values(steps: Sequence[Step]) -> Iterator[Step]:
    """Load the recorded initial values after each step that builds a layer without a state."""
    for step in steps:
        yield step
        if step.initial:
            yield Step("load", step.layer, step.call, (step.initial,))


def _with_state(steps: Sequence[Step], state: Mapping[str, np.ndarray]) -> list[Step]:
    """Load the recorded state before the last call, whatever the earlier calls left."""
    last_call_index = max(k for k, step in enumerate(steps) if step.member == "call")
    step = steps[last_call_index]
    return [
        *steps[:last_call_index],
        Step("load", step.layer, step.call, (state,)),
        *steps[last_call_index:],
    ]


def title_docstring(title: Sequence[str]) -> str:
    """The docstring at the beginning of a script."""
    return '"""' + escape_for_docstring("\n".join(title)) + '\n"""'


def _assemble(title: Sequence[str], printer: Printer, body: Sequence[str]) -> str:
    if printer.declining_exception:
        body = ["with declining():", *_indent(body)]
    source = "\n".join(body)
    helpers: list[str] = []
    for name, text in reversed({**printer.helpers, **_HELPERS}.items()):
        if f"{name}(" in "\n".join([source, *helpers]):
            helpers.insert(0, text.strip("\n"))
    source_and_helpers = "\n".join([source, *helpers])
    head = [
        *(["import contextlib", ""] if "contextlib." in source_and_helpers else []),
        *printer.header_lines(),
    ]
    return "\n\n".join([title_docstring(title), "\n".join(head), *helpers, source]) + "\n"


def _used_steps(steps: Sequence[Step], assertion_text: str) -> list[Step]:
    """The steps up to the last one whose result is used; steps that only read if they are used."""
    used_names = set(_RESULT_NAME.findall(assertion_text))
    last = max(
        (k for k, step in enumerate(steps) if step.name in used_names), default=len(steps) - 1
    )
    used_steps: list[Step] = []
    for step in reversed(steps[: last + 1]):
        only_reads = step.member in ("get", "put", "state", "updated", *FACT_MEMBERS)
        if only_reads and step.name not in used_names:
            continue
        used_steps.append(step)
        used_names |= set(_RESULT_NAME.findall(literal([step.arguments, dict(step.keywords)])))
    return used_steps[::-1]


def _lines_of_raising_step(steps: Sequence[Step], printer: Printer) -> list[str]:
    """The lines of a script whose last step raises the exception that failed."""
    used_steps = _used_steps(steps, literal([steps[-1].arguments, dict(steps[-1].keywords)]))
    lines_before = [
        line for step in used_steps if step is not steps[-1] for line in _step_lines(step, printer)
    ]
    exception_name = "Exception" if is_of_type(steps[-1].error, Exception) else "BaseException"
    return [
        *lines_before,
        "try:",
        *_indent(printer.step_lines(steps[-1])),
        *_reraise_declined(printer),
        f"except {exception_name} as error:",
        '    print(f"{type(error).__name__}: {error}")',
        '    print("FAILED")',
        "    raise SystemExit(1) from None",
        'print("passed")',
    ]


def _reraise_declined(printer: Printer) -> list[str]:
    return (
        [f"except {printer.declining_exception}:", "    raise"]
        if printer.declining_exception
        else []
    )


def _lines_of_invalid_call(
    steps: Sequence[Step], printer: Printer, finding: Finding, proof: Proof | None
) -> list[str]:
    """The lines for an invalid call: it must raise one of the exceptions that refuse a call."""
    ends = next((k for k, step in enumerate(steps) if step.error is not None), len(steps) - 1)
    steps_done = steps[: ends + 1]
    lines = [line for step in steps_done for line in printer.step_lines(step)]
    kinds = (ValueError, TypeError, RuntimeError) if proof is None else proof.refusals
    imported_kinds = [kind for kind in kinds if kind.__module__ != "builtins"]
    shapes = [
        f"{step.name}.shape" for step in steps_done if step.member == "get" and not step.error
    ]
    printed = f'"output of shape", {", ".join(shapes)}' if shapes else '""'
    return [
        *(f"from {kind.__module__} import {kind.__name__}" for kind in imported_kinds),
        "try:",
        *_indent(lines),
        *_reraise_declined(printer),
        f"except ({', '.join(kind.__name__ for kind in kinds)}) as error:",
        '    print("passed: refused:", error)',
        "    raise SystemExit(0) from None",
        "except Exception as error:",
        '    print(f"FAILED: {type(error).__name__}: {error}; a refusal was expected")',
        "    raise SystemExit(1) from None",
        f'print("FAILED: accepted, a refusal was expected;", {printed})',
        "raise SystemExit(1)",
    ]


def _indent(lines: Sequence[str]) -> list[str]:
    return textwrap.indent("\n".join(lines), "    ").splitlines()
