"""How NaN and infinities propagate through a recurrent layer or cell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import (
    Propagation,
    evaluate_oracle_on,
    nan_reached,
    zero_nonfinite,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

# A finite stand-in for ∞, in float64, and a bound that only multiples of it exceed.
_INFINITY_STAND_IN, _INFINITE_ABOVE = 2.0**664, 1e100
_MODERATE = 1e60


def expected_outputs(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where operands hold NaN or infinities.

    NaN makes every output NaN that it reaches. A single infinity saturates gates; what two
    infinities reach is undecided.
    """
    with np.errstate(all="ignore"):
        return _expected(trial)


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    precision = trial.precision
    nan_outputs = nan_reached(trial, precision)
    saturates = _saturates(trial, precision)

    def replace_special(x: np.ndarray) -> np.ndarray:
        stand_in = np.copysign(_INFINITY_STAND_IN if saturates else 0.0, x)
        return np.where(np.isnan(x), 0.0, np.where(np.isinf(x), stand_in, x))

    if saturates:
        # Even the smallest gate must be in doubt after multiplication by the stand-in.
        wide_precision = replace(
            precision, largest=2.0**900, normal=max(precision.normal, 1e-80), saturates=False
        )
        reached = nan_outputs
        results = evaluate_oracle_on(trial, wide_precision, replace_special)
    else:
        reached = nan_outputs
        if any(np.isinf(x).any() for x in trial.case.inputs if x is not None):
            nan_results = evaluate_oracle_on(
                trial, precision, lambda x: np.where(np.isfinite(x), 0.0, np.nan)
            )
            reached = [np.isnan(result.value) for result in nan_results]
        results = evaluate_oracle_on(trial, precision, replace_special)
    outputs = []
    for result, is_nan, is_reached in zip(results, nan_outputs, reached, strict=True):
        value, error = result.value, np.where(is_reached, np.inf, result.error)
        size = np.abs(value)
        infinite = saturates & (size - error > _INFINITE_ABOVE)
        fits = size + error <= min(precision.largest, _MODERATE if saturates else np.inf)
        value = np.where(infinite, np.copysign(np.inf, value), value)
        error = np.where(infinite, 0.0, np.where(fits, error, np.inf))
        outputs.append(
            Rounded(np.where(is_nan, np.nan, value), np.where(is_nan, 0.0, error), precision)
        )
    return tuple(outputs)


def _saturates(trial: TrialLike, precision: Precision) -> bool:
    """Whether the inputs hold one infinity, and IEEE arithmetic decides every output it reaches.

    Every sum then has at most one infinite term: gates become exactly 0 or 1, tanh ±1. An infinite
    c stays infinite while no forget gate vanishes.
    """
    call, inputs = trial.case.call, trial.case.inputs
    infinity_positions = [
        k for k, x in enumerate(inputs) if x is not None for _ in range(np.isinf(x).sum())
    ]
    if len(infinity_positions) != 1 or ("GRU" in call.layer and infinity_positions[0] > 0):
        return False  # r ⊙ ∞ where r may vanish, and (1 − z)·n + z·∞
    if call.arguments.get("nonlinearity") == "relu":
        x, first = inputs[0], call.arguments.get("batch_first", False)
        assert x is not None
        steps = 1 if "Cell" in call.layer else x.shape[1 if first and x.ndim == 3 else 0]
        if steps * call.arguments.get("num_layers", 1) > 1:
            return False  # ∞ spreads to every unit, and meets −∞
    weights = [w for name, w in call.state.items() if name.startswith("weight")]
    biases = [np.abs(b).max() for name, b in call.state.items() if name.startswith("bias")]
    smallest_weight = min(np.abs(w).min() for w in weights)
    columns = sum(max(w.shape[1] for w in weights) for _ in range(2))
    largest_weight = max(np.abs(w).max() for w in weights)
    largest_operand = max(
        1.0, *(np.abs(zero_nonfinite(x)).max(initial=0.0) for x in inputs if x is not None)
    )
    if "proj_size" in call.arguments:
        largest_operand = max(largest_operand, columns * largest_weight)
    largest_sum = columns * largest_weight * largest_operand + 2 * max(biases, default=0.0)
    max_log_gate = -0.9 * math.log(precision.normal)
    limit = max_log_gate if infinity_positions[0] == 2 else min(precision.largest, _MODERATE) / 4
    return bool(largest_sum <= limit and smallest_weight >= max(precision.normal, 1.0 / _MODERATE))


recurrent_propagation = Propagation(
    expected_outputs, max_infinities=1, special_parameters=False, zero_weights_allowed=False
)
"""Propagation from step to step."""
