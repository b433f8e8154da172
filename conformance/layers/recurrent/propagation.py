"""How NaN and infinities propagate through a recurrent layer or cell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import Propagation, finite, oracle, taken

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

# A finite stand-in for ∞, in float64, and a bound that only multiples of it exceed.
_FAR, _BEYOND = 2.0**664, 1e100
_MODERATE = 1e60


def expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where operands hold NaN or infinities.

    NaN makes every output NaN that it reaches. A single infinity saturates gates; what two
    infinities reach is undecided.
    """
    with np.errstate(all="ignore"):
        return _expected(trial)


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    precision = trial.precision
    lost = taken(trial, precision)
    saturates = _saturates(trial, precision)

    def near(x: np.ndarray) -> np.ndarray:
        far = np.copysign(_FAR if saturates else 0.0, x)
        return np.where(np.isnan(x), 0.0, np.where(np.isinf(x), far, x))

    if saturates:
        # Even the smallest gate must be in doubt after multiplication by the stand-in.
        doubting = replace(
            precision, largest=2.0**900, normal=max(precision.normal, 1e-80), saturates=False
        )
        reached = lost
        results = oracle(trial, doubting, near)
    else:
        reached = lost
        if any(np.isinf(x).any() for x in trial.case.inputs if x is not None):
            beyond = oracle(trial, precision, lambda x: np.where(np.isfinite(x), 0.0, np.nan))
            reached = [np.isnan(result.value) for result in beyond]
        results = oracle(trial, precision, near)
    wanted = []
    for result, nan, touched in zip(results, lost, reached, strict=True):
        value, error = result.value, np.where(touched, np.inf, result.error)
        size = np.abs(value)
        infinite = saturates & (size - error > _BEYOND)
        fits = size + error <= min(precision.largest, _MODERATE if saturates else np.inf)
        value = np.where(infinite, np.copysign(np.inf, value), value)
        error = np.where(infinite, 0.0, np.where(fits, error, np.inf))
        wanted.append(Rounded(np.where(nan, np.nan, value), np.where(nan, 0.0, error), precision))
    return tuple(wanted)


def _saturates(trial: TrialLike, precision: Precision) -> bool:
    """Whether the inputs hold one infinity, and IEEE arithmetic decides every output it reaches.

    Every sum then has at most one infinite term: gates become exactly 0 or 1, tanh ±1. An infinite
    c stays infinite while no forget gate vanishes.
    """
    call, inputs = trial.case.call, trial.case.inputs
    found = [k for k, x in enumerate(inputs) if x is not None for _ in range(np.isinf(x).sum())]
    if len(found) != 1 or ("GRU" in call.layer and found[0] > 0):
        return False  # r ⊙ ∞ where r may vanish, and (1 − z)·n + z·∞
    if call.arguments.get("nonlinearity") == "relu":
        x, first = inputs[0], call.arguments.get("batch_first", False)
        assert x is not None
        steps = 1 if "Cell" in call.layer else x.shape[1 if first and x.ndim == 3 else 0]
        if steps * call.arguments.get("num_layers", 1) > 1:
            return False  # ∞ spreads to every unit, and meets −∞
    weights = [w for name, w in call.state.items() if name.startswith("weight")]
    biases = [np.abs(b).max() for name, b in call.state.items() if name.startswith("bias")]
    least = min(np.abs(w).min() for w in weights)
    columns = sum(max(w.shape[1] for w in weights) for _ in range(2))
    heaviest = max(np.abs(w).max() for w in weights)
    operand = max(1.0, *(np.abs(finite(x)).max(initial=0.0) for x in inputs if x is not None))
    if "proj_size" in call.arguments:
        operand = max(operand, columns * heaviest)
    most = columns * heaviest * operand + 2 * max(biases, default=0.0)
    gentle = -0.9 * math.log(precision.normal)
    limit = gentle if found[0] == 2 else min(precision.largest, _MODERATE) / 4
    return bool(most <= limit and least >= max(precision.normal, 1.0 / _MODERATE))


recurrent = Propagation(expected, infinities=1, parameters=False, zero_weights=False)
"""Propagation from step to step."""
