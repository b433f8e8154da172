"""What a call must return: values, bounds, gradients, and how far an answer is from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.rounded import Rounded
from conformance.bounding.binding import BoundCall, bind_call
from conformance.bounding.operands import Operand, as_library, is_array, read_operand
from conformance.checks.cotangents import oracle_gradients
from conformance.checks.trial import Trial
from conformance.checks.values import compare
from conformance.layers.describe import case_text
from conformance.model.case import Call, Numerics, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding, fact_mismatch
from conformance.model.finding_text import finding_message


class OracleBackend:
    """A backend without layers: a trial needs one, but only the oracle computes."""

    name = "oracle"

    def info(self) -> Mapping[str, str]:
        """No versions."""
        return {}

    def devices(self) -> Sequence[str]:
        """Only the CPU."""
        return ("cpu",)

    def build(self, call: Call) -> Any:
        """Decline every call."""
        raise Unsupported("only the oracle computes")


@dataclass(frozen=True, eq=False)
class Bounded:
    """One expected tensor.

    Args:
        name: of the tensor, for messages.
        expected: values and bounds, of one or several right answers.
        library: the library in which arrays are returned.
        dtype: torch's name of the dtype that it must have; empty for any.
        kind: the kind of a finding about it: `"value"` or `"gradient"`.
    """

    name: str
    expected: Rounded | Choices
    library: str
    dtype: str = ""
    kind: str = "value"

    @property
    def value(self) -> Any:
        """The true value, rounded to float64 only; of several right values the first."""
        return as_library(self._first.value, self.library)

    @property
    def bound(self) -> Any:
        """How far a correct answer may be from the value; infinite where any number is right."""
        return as_library(self._first.error, self.library)

    @property
    def alternatives(self) -> tuple[tuple[Any, Any], ...]:
        """Each right answer with its bound; an element may equal any of them."""
        several = self.expected
        ways = several.alternatives if isinstance(several, Choices) else (several,)
        return tuple(
            (as_library(x.value, self.library), as_library(x.error, self.library)) for x in ways
        )

    @property
    def _first(self) -> Rounded:
        x = self.expected
        return x.alternatives[0] if isinstance(x, Choices) else x

    def find_fault(self, got: Any, device: str = "") -> Finding | None:
        """What is wrong with an answer; None if nothing is.

        Args:
            got: a tensor.
            device: the device on which it must be; empty for any.
        """
        operand = read_operand(self.name, got)
        if self.dtype and operand.dtype != self.dtype:
            return fact_mismatch("dtype", self.name, operand.dtype, self.dtype)
        if device and operand.library == "torch" and operand.device != device:
            return fact_mismatch("device", self.name, operand.device, device)
        try:
            compare(self.name, operand.array, self.expected, kind=self.kind)
        except Failure as failure:
            return failure.finding
        return None

    def margin(self, got: Any) -> float:
        """The largest error ÷ bound of an answer: at most 1 if it is right, ∞ for a wrong shape."""
        array = read_operand(self.name, got).array
        try:
            return compare(self.name, array, self.expected).margin or 0.0
        except Failure as failure:
            ratio = failure.finding.error_ratio
            return float("inf") if ratio is None else ratio


@dataclass(frozen=True, eq=False)
class Gradients:
    """Expected gradients of a call, by name.

    Args:
        inputs: of each input that has a gradient.
        parameters: of each parameter of a module.
    """

    inputs: Mapping[str, Bounded]
    parameters: Mapping[str, Bounded]

    def __getitem__(self, name: str) -> Bounded:
        """The gradient of an input or a parameter."""
        return self.inputs[name] if name in self.inputs else self.parameters[name]


class Bounds:
    """What a call must return.

    Args:
        call: the call, bound to the catalogue.
        numerics: what the implementation may do; None = nothing is declared.
    """

    def __init__(self, call: BoundCall, numerics: Numerics | None = None) -> None:
        self.call = call
        self._numerics = promised_numerics(numerics, call.case.call.dtype)

    @cached_property
    def _trial(self) -> Trial:
        return Trial(OracleBackend(), self.call.spec, self.call.case, self._numerics)

    @cached_property
    def outputs(self) -> tuple[Bounded, ...]:
        """The outputs, without absent ones."""
        trial, case = self._trial, self.call.case
        dtypes = [
            case.call.dtype if x.dtype is None else x.dtype(case) for x in trial.present_outputs
        ]
        named = zip(trial.names, trial.expected, dtypes, strict=True)
        return tuple(Bounded(name, x, self.call.library, dtype) for name, x, dtype in named)

    @cached_property
    def state(self) -> Mapping[str, Bounded]:
        """The tensors that the call changes, after the call, by name."""
        changed = self._trial.expected_update.state
        return {name: Bounded(name, x, self.call.library) for name, x in changed.items()}

    @property
    def value(self) -> Any:
        """The true value of the output; a tuple if there are several outputs."""
        return self._one_or_all([x.value for x in self.outputs])

    @property
    def bound(self) -> Any:
        """The bound of each element of the output; a tuple if there are several outputs."""
        return self._one_or_all([x.bound for x in self.outputs])

    @staticmethod
    def _one_or_all(parts: Sequence[Any]) -> Any:
        return parts[0] if len(parts) == 1 else tuple(parts)

    def margin(self, got: Any) -> float:
        """The largest error ÷ bound of all outputs: at most 1 if the answer is right.

        Args:
            got: what an implementation returned: a tensor, or a tuple of them.

        Raises:
            ValueError: if the number of outputs is wrong.
        """
        tensors = self._unpack(got)
        return max(
            (x.margin(tensor) for x, tensor in zip(self.outputs, tensors, strict=True)), default=0.0
        )

    def find_fault(self, got: Any) -> str:
        """What is wrong with an answer, in the suite's words; empty if nothing is.

        Args:
            got: what an implementation returned: a tensor, or a tuple of them.
        """
        try:
            tensors = self._unpack(got)
        except ValueError as error:
            return str(error)
        checked = 0
        for expected, tensor in zip(self.outputs, tensors, strict=True):
            finding = expected.find_fault(tensor, self._device_of(expected))
            if finding is not None:
                return finding_message(finding, self._trial.text())
            x = expected.expected
            decided = x.alternatives[0].decided if isinstance(x, Choices) else x.decided
            checked += int(np.count_nonzero(decided)) + (not decided.size)
        if not checked:
            return f"{self._trial.text()}\nnothing can be certified: no number has a finite bound"
        return ""

    def gradients(self, *cotangents: Any) -> Gradients:
        """Expected gradients of Σ⟨output, cotangent⟩ of all inputs and parameters.

        Args:
            cotangents: one for each output; None for an output without one.

        Raises:
            ValueError: if their number or a shape is wrong.
        """
        outputs = self.outputs
        if len(cotangents) != len(outputs):
            raise ValueError(f"{len(cotangents)} cotangents, expected {len(outputs)}")
        arrays: list[np.ndarray | None] = []
        for output, c in zip(outputs, cotangents, strict=True):
            operand: Operand | None = (
                None if c is None else read_operand(f"cotangent of {output.name}", c)
            )
            if operand is not None and operand.array.shape != output.expected.shape:
                raise ValueError(
                    f"cotangent of {output.name}: shape {operand.array.shape}, "
                    f"expected {output.expected.shape}"
                )
            arrays.append(None if operand is None else operand.array)
        inputs, parameters = oracle_gradients(self._trial, arrays)
        names = self.call.spec.signature.input_names
        return Gradients(
            {
                name: self._gradient(name, x)
                for name, x in zip(names, inputs, strict=False)
                if x is not None
            },
            {name: self._gradient(name, x) for name, x in parameters.items()},
        )

    def _gradient(self, name: str, expected: Rounded | Choices) -> Bounded:
        dtype = self.call.case.call.dtype
        return Bounded(f"gradient of {name}", expected, self.call.library, dtype, "gradient")

    def _device_of(self, output: Bounded) -> str:
        """The device of an output; empty where torch may return it elsewhere."""
        places = zip(self.outputs, self._trial.present_outputs, strict=True)
        on_host = any(x is output and y.on_host for x, y in places)
        return "" if on_host else self.call.device

    def _unpack(self, got: Any) -> tuple[Any, ...]:
        """The tensors in an answer, in the order of the outputs.

        Raises:
            ValueError: if their number is wrong.
        """
        single = is_array(got) or not isinstance(got, (tuple, list))
        tensors = tuple(x for x in _flatten((got,) if single else got) if x is not None)
        if len(tensors) != len(self.outputs):
            names = ", ".join(x.name for x in self.outputs)
            raise ValueError(f"{len(tensors)} outputs, expected {len(self.outputs)}: {names}")
        return tensors


def _flatten(values: Sequence[Any]) -> list[Any]:
    """Tensors of a tuple that may hold tuples, as recurrent layers return."""
    tensors: list[Any] = []
    for x in values:
        is_group = isinstance(x, (tuple, list)) and not is_array(x)
        tensors += _flatten(x) if is_group else [x]
    return tensors


def compute_bounds(
    target: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    numerics: Numerics | None = None,
) -> Bounds:
    """Compute what a call must return; the arguments are those of `conformance.bounds`."""
    call = bind_call(target, arguments, keywords)
    bounds = Bounds(call, numerics)
    try:
        bounds.outputs  # noqa: B018 - an oracle raises for an index that is out of range
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
        text = f"{case_text(call.case)}: the documentation rules this call out: {error}"
        raise ValueError(text) from error
    return bounds
