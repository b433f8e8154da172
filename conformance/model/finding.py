"""Findings, the faults that checks report, as data; `finding_text` turns them into text."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from conformance.model.plain_text import bounded
from conformance.model.untrusted import RemoteException, is_of_type, type_name

# The kinds of findings.
KINDS = (
    "value",  # numbers beyond their bound, or not NaN where they must be
    "gradient",  # the same for a gradient
    "sign",  # of zeros
    "bits",  # the same call does not give the same bits
    "shape",
    "dtype",
    "device",
    "count",  # of outputs, or of gradients
    "names",  # of state tensors, or of parameters
    "attribute",
    "presence",  # a gradient or an output that must not exist, or a missing one
    "memory",  # shared
    "random",  # numbers that do not have the documented distribution
    "contract",  # the backend returned something that the contract forbids
    "exception",
    "refusal",  # an invalid call was accepted, or raised an exception that is not a refusal
    "support",  # a call is declined at one time and supported at another
    "declared",  # reasons for declining that other cases contradict
    "allowance",  # a known failure fails more often than it may
    "stale",  # a known failure no longer fails
    "breach",  # the code under test let others compute, or reached for its judge
    "lost",  # the process crashed or hung
    "unchecked",  # nothing was compared
    "internal",  # the suite's own code failed
    "other",  # free text, for example of a user's own check
)
IN_TRAIN_MODE = "in train mode"
"""The `during` text for the part of a check that switches a layer to train mode."""
MAX_TRACE_LINES, MAX_TRACE_LINE = 10, 200
"""Most lines that are shown of another process's trace, and most characters of a line."""
# Modules of the suite that belong to backends.
_BACKENDS = "conformance.backends"


OPERANDS_PREFIX = "  where "
"""Beginning of the note with the numbers of small inputs and state."""


@dataclass(frozen=True)
class Finding:
    """One fault that a check found.

    Args:
        kind: one of `KINDS`.
        what: the tensor or fact: `"output"`, `"gradient of weight"`; for an exception, the step
            that raised it: `"call"`.
        when: the circumstances of the comparison: `"while recording gradients"`.
        during: the part of a check that found it: `"the same call again"`.
        where: index of the element that is shown.
        got, wanted: as text.
        bound, error: of that element; text for a number that JSON cannot hold (`"inf"`).
        wrong: how many elements are wrong.
        of: how many elements there are.
        excerpt: the beginnings of both arrays, got and wanted.
        exception: class name of the exception that the backend raised.
        frame: where it was raised: `"torch/nn/modules/conv.py:543:_conv_forward"`.
        says: a text of the backend or about the end of its process; for a declined call the reason.
        accepted: the call was accepted before the exception was raised.
        law: name of the law that does not hold.
        context: lines that name the calls in which it was found, the outermost first.
        notes: lines that the diagnosis adds.
        layouts: the fewest memory layouts with which the case still fails, by operand; None if the
            check does not choose layouts.
        drawn: the numbers depend on values that the backend draws anew each time.
        larger: the check found it in its additional call of another size.
    """

    kind: str
    what: str = ""
    when: str = ""
    during: str = ""
    where: tuple[int, ...] | None = None
    got: str = ""
    wanted: str = ""
    bound: float | str | None = None
    error: float | str | None = None
    wrong: int | None = None
    of: int | None = None
    excerpt: tuple[str, str] | None = None
    exception: str = ""
    frame: str = ""
    says: str = ""
    accepted: bool = False
    law: str = ""
    context: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layouts: Mapping[str, str] | None = None
    drawn: bool = False
    larger: bool = False

    def in_context(self, *lines: str, law: str = "") -> Finding:
        """Return the finding with lines before its context: calls that a check derived.

        Args:
            law: the law that relates these calls.
        """
        return replace(self, context=(*lines, *self.context), law=law or self.law)

    def in_part(self, during: str) -> Finding:
        """Return the finding with a part of a check before its `during`."""
        return replace(self, during=f"{during}: {self.during}" if self.during else during)

    def noting(self, *lines: str) -> Finding:
        """Return the finding with further notes."""
        return replace(self, notes=(*self.notes, *lines))

    @property
    def error_ratio(self) -> float | None:
        """The error ÷ bound of the element that is shown; None without an error or a bound."""
        if self.error is None or self.bound is None:
            return None
        error, bound = float(self.error), float(self.bound)
        return error / bound if bound > 0 and not math.isnan(error) else math.inf

    @property
    def failure_mode(self) -> tuple[object, ...]:
        """How it fails, without numbers; equal for two cases that fail in the same way."""
        if self.exception:
            return self.kind, self.what, self.exception
        layouts = tuple(sorted((self.layouts or {}).items()))
        return self.kind, self.what, self.when, self.during, self.law, layouts


def json_number(value: float) -> float | str:
    """A number that JSON can hold; text for NaN and infinities."""
    return value if math.isfinite(value) else str(value)


def json_number_or_none(value: float | None) -> float | str | None:
    """A number or None that JSON can hold; text for NaN and infinities."""
    return None if value is None else json_number(value)


def fact_mismatch(kind: str, what: str, got: object, wanted: object, *, when: str = "") -> Finding:
    """A finding about a wrong fact.

    Args:
        kind, what, when: fields of `Finding`.
        got, wanted: strings are taken literally, other objects by their `repr`.
    """
    return Finding(kind, what, when, got=_as_text(got), wanted=_as_text(wanted))


def count_mismatch(what: str, got: int, wanted: int, *, during: str = "") -> Finding:
    """A finding about a wrong number of things; the arguments are those of `Finding`."""
    return Finding("count", what, during=during, got=str(got), wanted=str(wanted))


def contract_violation(what: str, got: str, expected: str) -> Finding:
    """A finding about a member of a backend or layer that returned something forbidden.

    Args:
        what: the member.
        got: what it returned, in words.
        expected: what it should return.
    """
    return Finding("contract", what, got=got, wanted=expected)


def exception_finding(
    step: str, error: BaseException, says: str, *, accepted: bool = False
) -> Finding:
    """A finding about an exception that the backend raised.

    The trace of another process is shown in place of the frame.

    Args:
        step: the step of the trial that raised it: `"call"`.
        says: the exception's text.
        accepted: see `Finding`.
    """
    return Finding(
        "exception", step, exception=type_name(error), frame=raising_frame(error),
        says=says or "no message", accepted=accepted, notes=_trace_lines(error),
    )  # fmt: skip


def raising_step(error: BaseException) -> str:
    """The earlier step that raised an exception of another process; empty for the current one."""
    is_remote = is_of_type(error, RemoteException)
    return cast("RemoteException", error).step if is_remote else ""


def _trace_lines(error: BaseException) -> tuple[str, ...]:
    """The first lines of the trace that another process sent with its error."""
    is_remote = is_of_type(error, RemoteException)
    lines = cast("RemoteException", error).trace.splitlines() if is_remote else []
    shown = [f"  {bounded(line.rstrip(), MAX_TRACE_LINE)}" for line in lines if line.strip()]
    return tuple(shown[:MAX_TRACE_LINES])


def raising_frame(error: BaseException) -> str:
    """The innermost frame of an exception; empty if there is none or it is the suite's own code.

    An error of another process has no frame here.

    The path begins at the package, so that it is the same on every machine.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames or is_of_type(error, RemoteException):
        return ""
    frame, line = frames[-1]
    module = str(frame.f_globals.get("__name__", ""))
    if _is_suite_module(module):
        return ""
    file = Path(frame.f_code.co_filename)
    depth = module.count(".") + 1 + (file.stem == "__init__")
    return f"{'/'.join(file.parts[-depth:])}:{line}:{frame.f_code.co_name}"


def _is_suite_module(module: str) -> bool:
    inside = module.split(".")[0] == "conformance"
    return inside and not f"{module}.".startswith(f"{_BACKENDS}.")


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
