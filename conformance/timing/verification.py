"""Verify the answer of a call, before and after the call is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.backends.capabilities import numerics_of
from conformance.checks import gradients, values
from conformance.checks.answers import ExpectedGradients
from conformance.checks.cotangents import oracle_gradients
from conformance.checks.trial import Trial
from conformance.model.case import Call, Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import count_mismatch
from conformance.model.protocols import Backend
from conformance.timing.cost import count_operations
from conformance.timing.float64 import through_torch
from conformance.timing.operands import ArrayTuple, TimedArrays

# Multiplications and additions of the oracle's sums and bounds that NumPy does in about two seconds
# on one core.
MAX_ORACLE_OPERATIONS = 4e9
Cotangents = tuple[np.ndarray | None, ...]
TimedExpectation = tuple[list[Rounded | None], dict[str, Rounded]]


class VacuousBound(Exception):  # noqa: N818 - It describes the bound, and is not an error.
    """Raised if the derived bound is as large as the answer, so that it verifies nothing."""


@dataclass(frozen=True)
class Verifier:
    """Compares answers to one workload with the oracle.

    Args:
        operands: the arrays of the workload.
        torch: torch itself, for the oracle of large calls; None = NumPy computes all calls.
    """

    operands: TimedArrays
    torch: Backend | None
    _cache: list[tuple[int, Precision, Any, TimedExpectation]] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """Name of the reference that the answers are compared with."""
        return "torch float64" if self._is_large and self.torch is not None else "oracle"

    @property
    def _is_large(self) -> bool:
        o = self.operands
        # Forward computes values and a bound. Backward computes about as much for each gradient.
        times = 2 if o.timed.direction == "forward" else 3
        return (
            o.spec.benchmark.filling.contraction
            and times * count_operations(o) > MAX_ORACLE_OPERATIONS
        )

    def check(
        self,
        backend: Backend,
        layer: Any,
        call: Call,
        arrays: tuple[ArrayTuple, Cotangents],
        answer: Any = None,
    ) -> None:
        """Compare an answer with the oracle.

        Args:
            backend: the backend of the layer.
            layer: the layer, built for the call.
            call: the call, with the state that the layer was built with.
            arrays: inputs and cotangents.
            answer: the result of the layer's call or of its `vjp`; None = call the layer now.

        Raises:
            Failure: if the answer is wrong.
            Unsupported: if the layer declines the call.
            Void: if the bound is too large to verify anything.
        """
        inputs, cotangents = arrays
        spec = self.operands.spec
        if self.reference != "oracle" and self.torch is not None:
            spec = through_torch(spec, call.arguments, self.torch)
        declared = numerics_of(backend, call.dtype, call.device, call.layer)
        numerics = promised_numerics(declared, call.dtype)
        trial = Trial(backend, spec, Case(call, inputs), numerics)
        trial.layer = layer
        if self.operands.timed.direction == "forward":
            self._values(trial, answer)
        else:
            self._gradients(trial, cotangents, answer)

    def _values(self, trial: Trial, answer: Any) -> None:
        if answer is not None:
            outputs = tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)
            if len(outputs) != len(trial.shapes):
                raise Failure(count_mismatch("outputs", len(outputs), len(trial.shapes)))
            trial.outputs = outputs
        # Do not check the state after the call: it depends on the number of timed calls.
        values.compare_outputs_and_steps(trial)
        _require_informative(trial.expected)

    def _gradients(self, trial: Trial, cotangents: Cotangents, answer: Any) -> None:
        vjp = getattr(trial.layer, "vjp", None)
        if vjp is None:
            raise Unsupported("gradients not offered")
        if answer is None:
            natives = [
                None if c is None else trial.run_step("put", trial.layer.put, c.copy())
                for c in cotangents
            ]
            answer = trial.run_step("vjp", vjp, trial.natives, natives)
        inputs, parameters = self._expected(trial, cotangents)
        gradients.compare_gradients(
            trial, answer, ExpectedGradients(cotangents, inputs, parameters)
        )
        _require_informative([x for x in (*inputs, *parameters.values()) if x is not None])

    def _expected(self, trial: Trial, cotangents: Cotangents) -> TimedExpectation:
        """The oracle's gradients, cached: torch's answer to the same arrays needs them too."""
        arrays = trial.case.inputs
        if not self._cache or self._cache[0][:2] != (id(arrays), trial.precision):
            # The cache keeps the arrays alive, so that no other arrays can get their id.
            gradients_found = oracle_gradients(trial, cotangents)
            self._cache[:] = [(id(arrays), trial.precision, arrays, gradients_found)]
        return self._cache[0][3]


def _require_informative(answers: Sequence[Rounded | Choices]) -> None:
    """Require that the median bound of each array is below the array's root mean square.

    Raises:
        Void: if the bound of an array is larger.
    """
    for answer in answers:
        array = answer.alternatives[0] if isinstance(answer, Choices) else answer
        size = float(np.sqrt(np.mean(np.abs(array.value) ** 2))) if array.value.size else 0.0
        if array.value.size and float(np.median(array.error)) > size:
            raise VacuousBound("the bound at this size is as large as the answer")
