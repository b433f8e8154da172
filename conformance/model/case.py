"""The suite's data: a call, a case, a verdict, and what a backend declares of its arithmetic."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from conformance.model.bits import Bits
from conformance.model.cause import Cause, Excuse, Need, Share, other_causes_text
from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message
from conformance.model.grades import (
    EXACT,
    ONE_ROUNDING,
    PROMISES,
    STEP_BY_STEP,
    TWO_ROUNDINGS,
    ClassCounts,
)
from conformance.model.max_error import Farthest

if TYPE_CHECKING:
    import numpy as np

STATUSES = ("passed", "failed", "crashed", "hung", "unsupported", "known", "unchecked")
COLUMN_DIGITS = string.digits + string.ascii_letters
OUTCOMES = {
    "p": "passed",
    "f": "failed",
    "d": "declined by the backend",
    "b": "the check did not apply",
    "k": "failed as a known failure says",
    "x": "left out: a known failure would end the process",
    "l": "lost: the case ended the process in another check",
    "n": "not run",
}
"""The letters of `Verdict.outcomes`."""
ULP = {
    "divide": 0.5,  # IEEE division is rounded correctly
    "sqrt": 1.0,  # MKL's is not: 0.55 and 0.66 in float32 and float64
    "rsqrt": 2.0,  # a square root within 1 and a division within ½; measured 1.45
    "exp": 2.0,
    "expm1": 2.0,
    "log": 2.0,
    "log1p": 2.0,
    "pow": 2.0,
    "erf": 2.0,
    "tanh": 2.5,
    "sigmoid": 3.0,  # an exponential within 2, an addition and a division within ½ each
}
"""Default bounds of elementary functions' errors, in units in the last place.

Measured on torch 2.13 in float32 and float64, on millions of points: exp 0.71, expm1 and erf 1.00,
log 0.58, log1p 0.72, tanh 0.63, sigmoid 2.32. Comparable libraries promise at most 1 for scalar
functions and at most 2 for vectorised ones.
"""
STORED = {
    "batch_statistics": "a batch's or instance's mean, Σ(x − mean)², variance, 1/√(variance + eps)",
    "saved_statistics": "mean and 1/√(variance + eps) of a layer or group, for the backward pass",
    "weight_gradients": "partial sums of a norm's gradients of weight and bias",
    "neighbours": "each step of a normalisation by neighbouring channels",
    "row_norm": "the norm of an embedding's row, and max_norm divided by it",
    "bag_sum": "the sum of a bag before it is divided, and the reciprocal of the bag's size",
    "interpolation_weights": "weights of an interpolation, each step that they are computed by",
    "grid_samples": "places, weights and sums of a grid sample, and the numbers of an affine grid",
    "normalised": "a norm's normalised input, and its product with the weight before a bias",
    "exponentials": "a softmax's exponentials before the division, its products with a gradient",
    "log_sum": "a log-softmax's input minus its maximum, its sum, and the sum's logarithm",
}
"""Intermediate results of composites that a backend may store in half precision, by name."""


class Unsupported(Exception):  # noqa: N818 - the contract's name
    """Raised by `Backend.build`, or by a layer, to decline a call.

    Args:
        reason: what is not supported, as the user would write it: `"padding_mode='circular'"`.
    """


class NotOffered(Unsupported):
    """Raised by the suite where a backend lacks what a check needs, whatever the call."""


LIST, GRADIENTS = "list", "gradients"
"""How torch takes the parts of a composite argument (`Bundles`), if not as fields of a class."""
UNREACHED_PREFIX = "reached none of: "
"""The beginning of the reason for declining a call that ran nothing under test."""


class Unreached(Unsupported):
    """Raised by a layer after a call that ran none of the functions under test.

    Args:
        names: the functions under test.
    """

    def __init__(self, names: str) -> None:
        super().__init__(UNREACHED_PREFIX + names)


@dataclass(frozen=True, eq=False)
class Updated:
    """The outputs of a call that changes the layer's state, and the state after it.

    Args:
        outputs: one output, or a tuple of them.
        state: the tensors that the call changed, under state_dict names. For a function: under the
            names of the inputs that it wrote into.
    """

    outputs: Any
    state: Mapping[str, Any]


# Functions of torch.nn.utils.parametrizations, for example, return modules: they count as
# constructors.
_FUNCTION_NAMESPACES = ("functional", "init", "utils", "utils.rnn")


def is_function(layer: str) -> bool:
    """Whether a layer's name is that of a function, which takes its weights as inputs."""
    return layer.rpartition(".")[0] in _FUNCTION_NAMESPACES


def bare_name(layer: str) -> str:
    """A function's name without its namespace: `"conv2d"` for `"functional.conv2d"`."""
    return layer.rpartition(".")[2] if is_function(layer) else layer


def class_and_method(layer: str) -> tuple[str, str]:
    """Split a layer's name into what builds the module and the method to call.

    A class or a function builds the module. The method is empty if the module itself is called.
    """
    if layer[:1].islower():
        return layer, ""
    name, _, method = layer.partition(".")
    return name, method


def find_by_layer_name(layer: str, nn: Any, functional: Any) -> Any:
    """Find a layer's class or function in namespaces like torch's; None if it is absent.

    Args:
        nn: holds the classes and further namespaces.
        functional: holds the functions.
    """
    path = layer if is_function(layer) else class_and_method(layer)[0]
    namespace, _, name = path.partition(".")
    target, names = (functional, [name]) if namespace == "functional" else (nn, path.split("."))
    for attribute in names:
        target = getattr(target, attribute, None)
    return target


@dataclass(frozen=True, eq=False)
class Call:
    """One layer to build, as data.

    Args:
        layer: name of a `torch.nn` class (`"Conv2d"`) or function (`"functional.conv2d"`). Also a
            method to call in place of the module (`"Conv2d.method"`), or a function that returns a
            module (`"utils.parametrizations.weight_norm"`).
        arguments: the arguments that are passed; the layer uses its own default for all others.
            The key `"*"` holds extra positional arguments (Identity).
        state: arrays under torch's state_dict names; empty = the backend's own initialisation.
        dtype: torch's name without the prefix, `"float32"`.
        device: `"cpu"`, `"cuda:0"`.
        training: train mode instead of eval.
        layouts: memory layout of each state tensor that is not contiguous.
    """

    layer: str
    arguments: Mapping[str, Any]
    state: Mapping[str, np.ndarray]
    dtype: str
    device: str
    training: bool = False
    layouts: Mapping[str, str] = field(default_factory=dict)


def argument_module_call(call: Call, value: tuple[str, tuple[tuple[str, Any], ...]]) -> Call:
    """The call that builds a module which another call takes as an argument.

    Args:
        call: the other call.
        value: the argument: the module's class, and (argument, value) pairs.
    """
    name, pairs = value
    return replace(call, layer=name, arguments=dict(pairs), state={}, layouts={})


@dataclass(frozen=True, eq=False)
class Case:
    """A call plus its inputs: one example, replayable without Hypothesis.

    Args:
        call: the layer to build.
        inputs: float64, complex128 or int64 arrays in torch's order; None for an input left out.
            Every element is exactly representable in the call's dtype.
        keywords: arguments of the call that are not tensors: `output_size`, `lengths`.
        layouts: memory layout of each input; inputs beyond the end of the tuple are contiguous.
        cotangent_layouts: memory layout of each output's cotangent, in the same form.
        labels: names of the draws that led to this case (`profile`, `regime`, …), for counting.
        seed: the drawn seed; checks that need more random numbers derive them from it.
        unbroken: for an invalid case, the valid case from which it was made.
    """

    call: Call
    inputs: tuple[np.ndarray | None, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    layouts: tuple[str, ...] = ()
    cotangent_layouts: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    unbroken: Case | None = None

    @property
    def operands(self) -> tuple[np.ndarray, ...]:
        """The inputs that are not None, then the state tensors."""
        return tuple(x for x in (*self.inputs, *self.call.state.values()) if x is not None)


@dataclass(frozen=True)
class Examples:
    """Counts of an item's examples by outcome.

    Args:
        drawn: examples drawn.
        checked: examples in which the check looked at the backend's answer.
        unsupported: examples declined, by reason.
        invalid: examples that the check does not apply to.
        stopped: examples that did not fit the time budget; they do not count as drawn.
        failed: checked examples that failed, known failures included.
        excused: failed examples that a known failure explains.
        left_out: examples not run because a known failure would end the process.
        lost: examples that ended the process in this check or in another check of the layer.
        classes: counts by class of the operands (`grades.CLASSES`); empty in older files.
    """

    drawn: int = 0
    checked: int = 0
    unsupported: Mapping[str, int] = field(default_factory=dict)
    invalid: int = 0
    stopped: int = 0
    failed: int = 0
    excused: int = 0
    left_out: int = 0
    lost: int = 0
    classes: Mapping[str, ClassCounts] = field(default_factory=dict)

    @property
    def declined(self) -> int:
        """Number of examples declined for any reason."""
        return sum(self.unsupported.values())

    @property
    def supported(self) -> float | None:
        """Checked examples ÷ (checked + declined); None if there are neither."""
        answered = self.checked + self.declined
        return self.checked / answered if answered else None


@dataclass(frozen=True)
class Column:
    """The values of one argument over the cases of a layer and dtype.

    Args:
        values: its different values, as text.
        cases: a character of `COLUMN_DIGITS` for each case: the index of its value in `values`.
    """

    values: tuple[str, ...]
    cases: str

    def value_texts(self, count: int) -> list[str]:
        """The value in each of the first `count` cases; `"?"` if it is not recorded."""
        value_of_digit = dict(zip(COLUMN_DIGITS, self.values, strict=False))
        return [value_of_digit.get(digit, "?") for digit in self.cases[:count].ljust(count)]


@dataclass(frozen=True)
class Verdict:
    """Result of a check of a layer on a backend, dtype and device.

    Args:
        id: `"Conv2d-values-float32-cpu"`.
        layer, check, dtype, device: the item.
        status: one of `STATUSES`.
        examples: the counts of its examples.
        comparisons: how many numbers were compared with a finite bound.
        margin: the largest error ÷ bound; None where no bound applied.
        ulps: histogram of distances to the oracle's number. A key is the power of 2, in units in
            the last place: `"0"` stands for 1 to 2 units; `"exact"` for no distance.
        ratios: histogram of error ÷ bound. A key is the power of 2: `"-1"` stands for a half to
            the full bound; `"exact"` for no error.
        worst: the call with the margin.
        farthest: for a function of single numbers, the passing answer with the largest error, and
            its input.
        outcomes: the outcome of each case in order, run-length encoded: `"40p3f157p"`; see
            `OUTCOMES`. The cases of later rounds follow those of the first.
        drawn: the arguments of the cases, recorded once, by the first item of the run with these
            cases.
        message: why it failed, or why nothing was checked.
        call: the minimal failing call as a person would type it.
        case: the minimal failing case as JSON data (`conformance.layers.encoding`).
        needs: the arguments whose values the failure needs.
        share: the conditions that its failing cases share, and how many cases meet them.
        excess: largest error ÷ bound among the failing cases of the first cause.
        reproducer: a standalone script that shows the failure.
        command: the pytest command that reproduces it.
        seconds: wall time of the item.
        reference: what torch does with the minimal failing case: `"torch: same"`,
            `"torch: fails otherwise"` or `"torch: differs"`; None where nothing fails, or on torch
            itself.
        others: further causes of failure besides the one that `message` describes.
        excuses: the known failures that apply to the item.
        accepted: invalid examples that the backend accepts on purpose, or that no page of torch
            rules out, by broken constraint.
        thin: why a verdict rests on too few structures: `"2 of 40 structures (declined)"`.
        hits: how often each function under test ran, by name, if the backend counts that: operators
            that a kernel replaces.
        not_shown: reasons of known failures whose pinned case passes here, on a machine or version
            that their entries do not mention.
        failure: what is wrong, as data; `message` is its text, followed by the text of `others`.
            None where nothing new is wrong, and in files of schema 2.
        grades: number of cases by the best grade (`grades.GRADES`) that their numbers reach, known
            failures included; empty where no numbers are compared with a bound.
        promised: the grade that the backend promises; worse cases fail.
        bits: what an answer's bits may depend on (`bits.CAUSES`) → the number of cases in which
            they are the same, and of those compared.
    """

    id: str
    layer: str
    check: str
    dtype: str
    device: str
    status: str
    examples: Examples = field(default_factory=Examples)
    comparisons: int = 0
    margin: float | None = None
    ulps: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, int] = field(default_factory=dict)
    worst: str | None = None
    farthest: Farthest | None = None
    outcomes: str = ""
    drawn: Mapping[str, Column] | None = None
    message: str | None = None
    call: str | None = None
    case: Mapping[str, Any] | None = None
    needs: tuple[Need, ...] = ()
    share: Share | None = None
    excess: float | str | None = None
    reproducer: str | None = None
    command: str | None = None
    seconds: float = 0.0
    reference: str | None = None
    others: tuple[Cause, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    accepted: Mapping[str, int] = field(default_factory=dict)
    thin: str | None = None
    hits: Mapping[str, int] = field(default_factory=dict)
    not_shown: tuple[str, ...] = ()
    failure: Finding | None = None
    grades: Mapping[str, int] = field(default_factory=dict)
    promised: str = ""
    bits: Bits = field(default_factory=dict)

    @property
    def own_message(self) -> str:
        """The message without its part about other causes."""
        if self.failure is not None:
            return finding_message(self.failure, self.call)
        return (self.message or "").replace(other_causes_text(self.others), "")

    def noting(self, *lines: str) -> Verdict:
        """Return the verdict with further lines in its message."""
        if self.failure is None:
            return replace(self, message="\n".join(filter(None, [self.message, *lines])))
        noted = replace(self, failure=self.failure.noting(*lines))
        return replace(noted, message=noted.own_message + other_causes_text(self.others))


ACCUMULATION_DTYPES = ("float64", "float32", "bfloat16", "float16")

MAX_UNIT_ROUNDOFF = 0.25
"""Unit roundoff of a number of two bits: with a coarser one, any answer would be right."""
MAX_ULPS = 1e6
"""Units in the last place: an eighth of the value in float32, more than the value in coarser ones.

A larger declared error would accept any answer.
"""


@dataclass(frozen=True)
class Numerics:
    """What a backend declares of its arithmetic in one dtype; error bounds follow from it.

    Args:
        unit_roundoff: of a stored result; None = the dtype's own (2⁻²⁴ for float32).
        accumulation: dtype in which sums are accumulated ("float32"). None = as in torch: float32
            within Linear and the forward convolution of bfloat16 and float16, the dtype itself
            elsewhere.
        flush_to_zero: subnormal numbers may become zero.
        inexact: names of algorithms that do not compute integer sums exactly (`("winograd",)`); if
            there are any, the suite demands no exact equality.
        ulp: function → its largest error in units in the last place, where it differs from
            `ULP`: `{"tanh": 7}`.
        absolute: function → its largest absolute error, in addition to `ulp`. Rational forms and
            tables have such an error at any size of the value, and need not end in ±1.
        operand_roundoff: unit roundoff of inputs and state, if they are rounded to a coarser dtype
            when read.
        stepwise: in bfloat16 and float16 every step of a composite (a softmax, a norm, a loss) is
            stored in the dtype; False = computed in float32 and stored once.
        stored: names of intermediate results (`STORED`) that are stored in bfloat16 and float16
            within a composite that is otherwise computed in float32. Empty means any of them.
        grade: the grade (`grades.PROMISES`) that the backend promises; worse answers fail. Empty
            means "step by step" for a `stepwise` backend, else "two roundings".

    Raises:
        ValueError: for an unknown dtype, function (`ULP`), result (`STORED`) or grade, and for a
            grade that contradicts `stepwise` or `stored`. Also for a number with which any answer,
            or no answer, would be right.
    """

    unit_roundoff: float | None = None
    accumulation: str | None = None
    flush_to_zero: bool = False
    inexact: tuple[str, ...] = ()
    ulp: Mapping[str, float] = field(default_factory=dict)
    absolute: Mapping[str, float] = field(default_factory=dict)
    operand_roundoff: float = 0.0
    stepwise: bool = False
    stored: tuple[str, ...] = ()
    grade: str = ""

    @property
    def promised(self) -> str:
        """The promised grade in bfloat16 and float16."""
        every_step = self.stepwise or bool(self.unit_roundoff)
        return self.grade or (STEP_BY_STEP if every_step else TWO_ROUNDINGS)

    def __post_init__(self) -> None:
        if self.grade and self.grade not in PROMISES:
            raise ValueError(f"grade={self.grade!r}: expected one of {', '.join(PROMISES)}")
        if self.stepwise and self.grade in (EXACT, ONE_ROUNDING, TWO_ROUNDINGS):
            raise ValueError(f"grade={self.grade!r} contradicts stepwise=True")
        if self.stored and self.grade in (EXACT, ONE_ROUNDING):
            raise ValueError(f"grade={self.grade!r} contradicts stored={self.stored!r}")
        if self.accumulation is not None and self.accumulation not in ACCUMULATION_DTYPES:
            raise ValueError(
                f"accumulation={self.accumulation!r}: expected one of "
                f"{', '.join(ACCUMULATION_DTYPES)}"
            )
        if not all(isinstance(name, str) for name in self.inexact):
            raise ValueError(f"inexact={self.inexact!r}: expected names of algorithms")
        for names, allowed in (((*self.ulp, *self.absolute), ULP), (self.stored, STORED)):
            for name in names:
                if name not in allowed:
                    raise ValueError(f"{name!r}: expected one of {', '.join(allowed)}")
        roundoffs = {"unit_roundoff": self.unit_roundoff or 0.0}
        roundoffs["operand_roundoff"] = self.operand_roundoff
        numbers_and_limits = [
            (roundoffs, MAX_UNIT_ROUNDOFF),
            (self.ulp, MAX_ULPS),
            (self.absolute, 1.0),
        ]
        for numbers, limit in numbers_and_limits:
            for name, number in numbers.items():
                # NaN fails this comparison, too.
                if not 0 <= number <= limit:
                    raise ValueError(f"{name}={number!r}: expected a number from 0 to {limit:g}")
