"""What a check finds wrong, as data; `finding_text` writes it out."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.model.untrusted import type_name

# What a finding can be.
KINDS = (
    "value",  # numbers beyond their bound, or not NaN where they must be
    "gradient",  # likewise, of a gradient
    "sign",  # of zeros
    "bits",  # the same call does not give the same bits
    "shape",
    "dtype",
    "device",
    "count",  # of outputs, or of gradients
    "names",  # of state tensors, or of parameters
    "attribute",
    "presence",  # a gradient or an output where there is none, or the other way round
    "memory",  # shared
    "random",  # numbers that do not have the distribution documented
    "contract",  # the backend returned what no layer may
    "exception",
    "refusal",  # an invalid call was accepted, or ended in an exception that is no refusal
    "support",  # a call is declined now so, now so
    "declared",  # reasons for declining that other cases contradict
    "allowance",  # a known failure fails more often than it may
    "stale",  # a known failure does not fail any more
    "lost",  # the process crashed or hung
    "unchecked",  # nothing was compared
    "internal",  # the suite's own code failed
    "other",  # whatever a check of somebody else's says
)
IN_TRAIN_MODE = "in train mode"
"""What is said of a part of a check that puts a layer into train mode itself."""
# Modules of the suite that belong to backends.
_BACKENDS = "conformance.backends"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: one of `KINDS`.
        what: the tensor or fact: `"output"`, `"gradient of weight"`; of an exception the step that
            raised it: `"call"`.
        when: under which circumstances the tensor is looked at: `"while recording gradients"`.
        during: the part of a check that found it: `"the same call again"`.
        where: index of the element that is shown.
        got, wanted: as text.
        bound, error: of that element; text where JSON has no such number (`"inf"`).
        wrong: how many elements are wrong.
        of: how many elements there are.
        excerpt: the beginning of the whole array, got and wanted.
        exception: name of the class of what the backend raised.
        frame: where it was raised: `"torch/nn/modules/conv.py:543:_conv_forward"`.
        says: what the backend, or the end of its process, says; of a declined call the reason.
        accepted: the call was accepted before something was raised.
        law: name of the law that does not hold.
        context: lines that say on which calls it was found, the outermost first.
        notes: lines that were found out about it afterwards.
        layouts: the fewest memory layouts with which the case still fails, by operand; None where
            the check does not choose them.
        drawn: the numbers rest on values that the backend drew, which are others each time.
        larger: it was found in the call of another size that the check makes as well.
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

    def within(self, *lines: str, law: str = "") -> Finding:
        """The finding on calls that a check made of the case's.

        Args:
            law: that relates them.
        """
        return replace(self, context=(*lines, *self.context), law=law or self.law)

    def met(self, during: str) -> Finding:
        """The finding in one part of a check."""
        return replace(self, during=f"{during}: {self.during}" if self.during else during)

    def noting(self, *lines: str) -> Finding:
        """The finding with more that is known of it."""
        return replace(self, notes=(*self.notes, *lines))

    @property
    def excess(self) -> float | None:
        """The error ÷ bound of the element that is shown; None where there are none."""
        if self.error is None or self.bound is None:
            return None
        error, bound = float(self.error), float(self.bound)
        return error / bound if bound > 0 and not math.isnan(error) else math.inf

    @property
    def manner(self) -> tuple[object, ...]:
        """How it fails, numbers left out: two cases that fail alike have the same."""
        if self.exception:
            return self.kind, self.what, self.exception
        layouts = tuple(sorted((self.layouts or {}).items()))
        return self.kind, self.what, self.when, self.during, self.law, layouts


def number(value: float) -> float | str:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def number_or_none(value: float | None) -> float | str | None:
    """Likewise; None stays None."""
    return None if value is None else number(value)


def differs(kind: str, what: str, got: object, wanted: object, *, when: str = "") -> Finding:
    """A fact that is not as it should be.

    Args:
        kind: of the finding.
        what: the fact, or the tensor that it is about.
        got, wanted: a text is taken as it is.
        when: see `Finding`.
    """
    return Finding(kind, what, when, got=_text(got), wanted=_text(wanted))


def counted(what: str, got: int, wanted: int, *, during: str = "") -> Finding:
    """A number of things that is not as it should be; the arguments are those of `Finding`."""
    return Finding("count", what, during=during, got=str(got), wanted=str(wanted))


def returned(what: str, got: str, expected: str) -> Finding:
    """A member of a backend or layer returned something that it may not.

    Args:
        expected: what it should return.
    """
    return Finding("contract", what, got=got, wanted=expected)


def raised(step: str, error: BaseException, says: str, *, accepted: bool = False) -> Finding:
    """An exception of the backend's.

    Args:
        says: its text.
        accepted: see `Finding`.
    """
    return Finding(
        "exception", step, exception=type_name(error), frame=innermost(error),
        says=says or "no message", accepted=accepted,
    )  # fmt: skip


def innermost(error: BaseException) -> str:
    """Where an exception was raised, in code that is not the suite's; empty if that has no frame.

    A file is named from its package on, so that it is the same on every machine.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    module = str(frame.f_globals.get("__name__", ""))
    if _is_own(module):
        return ""
    file = Path(frame.f_code.co_filename)
    depth = module.count(".") + 1 + (file.stem == "__init__")
    return f"{'/'.join(file.parts[-depth:])}:{line}:{frame.f_code.co_name}"


def _is_own(module: str) -> bool:
    inside = module.split(".")[0] == "conformance"
    return inside and not f"{module}.".startswith(f"{_BACKENDS}.")


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
