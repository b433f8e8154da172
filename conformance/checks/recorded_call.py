"""A call of the oracle that is recorded for derivatives, at a case's operands or near them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import count_roundings, leaf, pull_back
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.checks.trial import Trial

Gradients = tuple[list[Any], dict[str, Any]]
"""Those of the inputs (None if absent or integers), and of the parameters by name."""


@dataclass(frozen=True)
class Direction:
    """A direction in the space of the operands; an array that is passed twice has one.

    Args:
        inputs: for each input; None for one without a gradient.
        parameters: by name.
    """

    inputs: Sequence[np.ndarray | None] = ()
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedCall:
    """Operands and outputs of the oracle; operands that have a gradient are recorded."""

    inputs: Sequence[Rounded | None]
    state: Mapping[str, Rounded]
    outputs: Sequence[Rounded | Choices]

    @property
    def has_choices(self) -> bool:
        """Whether an output has several right values."""
        return any(isinstance(x, Choices) for x in self.outputs)

    @property
    def roundings(self) -> int:
        """The most roundings between an operand and an output."""
        return count_roundings([x for x in self.outputs if isinstance(x, Rounded)])

    def gradients(
        self,
        cotangents: Sequence[np.ndarray | None],
        relative_error: float = 0.0,
        *,
        values_only: bool = False,
    ) -> Gradients:
        """Gradients by the recorded operands; `Choices` where an output has several right values.

        Args:
            cotangents: one for each output that is present.
            relative_error: of the cotangents.
            values_only: without errors.
        """
        leaves = [x for x in (*self.inputs, *self.state.values()) if x is not None and x.node]
        leaves = list({id(x): x for x in leaves}.values())
        output_gradients = list[Rounded | None]()
        for x, c in zip(self.outputs, cotangents, strict=True):
            precision = replace(x.precision, values_only=True) if values_only else x.precision
            exact = None if c is None else exact_operand(c, precision)
            if exact is not None and relative_error:
                exact = exact.with_error(exact.error + relative_error * exact.abs_value)
            output_gradients.append(exact)
        gradients = _pull_back(self.outputs, output_gradients, leaves)
        return (
            [None if x is None else gradients.get(id(x)) for x in self.inputs],
            {name: gradients[id(x)] for name, x in self.state.items() if x.node},
        )


def record_call(
    trial: Trial,
    direction: Direction | None = None,
    step: float = 0.0,
    error: float = 0.0,
    relative_error: float = 0.0,
) -> RecordedCall:
    """Record the oracle's call of a case; an array that is passed twice is one leaf.

    Args:
        direction, step: the operands are moved by `step` times the direction.
        error, relative_error: of the operands; multiples of the direction, and of themselves.
    """
    precision = trial.precision

    def record(x: np.ndarray, tangent: np.ndarray | None) -> Rounded:
        if direction is None or tangent is None:
            return leaf(x, precision)
        moved = leaf(x + step * tangent, precision)
        if not error:
            return moved
        return moved.with_error(error * np.abs(tangent) + relative_error * moved.abs_value)

    leaves = dict[int, Rounded]()
    for place, (input, x) in enumerate(
        zip(trial.spec.signature.inputs, trial.case.inputs, strict=False)
    ):
        if x is None or id(x) in leaves:
            continue
        recorded = input.differentiable and x.dtype.kind in "fc"
        tangent = direction.inputs[place] if direction else None
        leaves[id(x)] = record(x, tangent) if recorded else exact_operand(x, precision)
    parameters = trial.spec.parameter_names(trial.case)
    state = {
        name: record(x, direction.parameters.get(name) if direction else None)
        if name in parameters
        else exact_operand(x, precision)
        for name, x in trial.case.call.state.items()
    }
    inputs = [None if x is None else leaves[id(x)] for x in trial.case.inputs]
    return RecordedCall(inputs, state, trial.evaluate(state, inputs))


def _pull_back(
    outputs: Sequence[Rounded | Choices],
    cotangents: Sequence[Rounded | None],
    leaves: Sequence[Rounded],
) -> dict[int, Any]:
    """The gradient of each leaf; `Choices` where an output has several right values."""
    used_outputs = [x for x, c in zip(outputs, cotangents, strict=True) if c is not None]
    alternative_count = max(
        (len(x.alternatives) for x in used_outputs if isinstance(x, Choices)), default=1
    )
    gradients = []
    for k in range(alternative_count):
        chosen = [
            x.alternatives[k % len(x.alternatives)] if isinstance(x, Choices) else x
            for x in outputs
        ]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            gradients.append(pull_back(chosen, cotangents, leaves))
    if alternative_count == 1:
        return dict(zip(map(id, leaves), gradients[0], strict=True))
    return {
        id(x): Choices(tuple(alternative[k] for alternative in gradients))
        for k, x in enumerate(leaves)
    }
