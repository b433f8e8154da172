"""How NaN and infinities in the input propagate through an interpolation.

An element with a nonzero weight decides the output, one out of reach has no effect. Elements whose
weight is 0, or may be, leave the output undecided: 0·∞ is NaN if a form multiplies it, and has no
effect if a form skips it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from itertools import product
from typing import Any

import numpy as np

from conformance.arithmetic.half_precision import working_precision
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.interpolation.axis import Axis, averaging_axis
from conformance.oracles.interpolation.interpolate import Resize
from conformance.oracles.interpolation.sums import apply_matrices
from conformance.spec.propagation import Propagation, evaluate_oracle_on, zero_nonfinite
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import TrialLike


def _expected(fixed_arguments: Mapping[str, Any], trial: TrialLike) -> tuple[Rounded, ...]:
    arguments = {
        "mode": "nearest",
        **trial.spec.signature.defaults,
        **trial.case.call.arguments,
        **fixed_arguments,
    }
    x = trial.case.inputs[0]
    assert x is not None
    with np.errstate(all="ignore"):
        if arguments["mode"].startswith("nearest"):
            return trial.expected
        (finite_output,) = evaluate_oracle_on(trial, trial.precision, zero_nonfinite)
        axes = _axes(x.shape[2:], arguments, working_precision(trial.precision))
        finite_output = _leave_overflow_open(zero_nonfinite(x), finite_output, axes)
        return (finite_output if np.isfinite(x).all() else _classify(x, finite_output, axes),)


def _axes(lengths: Shape, arguments: Mapping[str, Any], precision: Precision) -> Sequence[Axis]:
    corners, recompute = arguments.get("align_corners"), arguments.get("recompute_scale_factor")
    resize = Resize.of(lengths, arguments["size"], arguments["scale_factor"], corners, recompute)
    if arguments["mode"] == "area":
        return [
            averaging_axis(o, n, precision)[0] for o, n in zip(resize.outputs, lengths, strict=True)
        ]
    antialias = bool(arguments.get("antialias"))
    return resize.axes(arguments["mode"], antialias, precision, precision.store)


def _leave_overflow_open(x: np.ndarray, output: Rounded, axes: Sequence[Axis]) -> Rounded:
    """Leave outputs open where sums along some dimensions may overflow, but the total does not."""
    largest = axes[0].weights.precision.largest
    sizes = [axis.by_element(np.abs(axis.weights.value)) for axis in axes]
    if np.abs(x).max(initial=0.0) * np.prod([m.sum(1).max() for m in sizes]) < largest:
        return output
    error = output.error
    for summed_dimensions in product((False, True), repeat=len(axes)):
        pairs = list(zip(summed_dimensions, axes, sizes, strict=True))
        partial_sums = [m if now else np.eye(a.length) for now, a, m in pairs]
        read = [a.by_element(a.touched.astype(float)) for a in axes]
        remaining_sums = [
            np.eye(len(m)) if now else r for (now, _, m), r in zip(pairs, read, strict=True)
        ]
        # Weights stored in bfloat16 are off by 2⁻⁸ each, a product of three by less than 2⁻⁶; the
        # rounding of these short float32 sums is far smaller.
        overflows = (apply_matrices(np.abs(x), partial_sums) * (1 + 2.0**-6) > largest).astype(
            float
        )
        error = np.where(apply_matrices(overflows, remaining_sums) > 0, np.inf, error)
    return output.with_error(error)


def _classify(x: np.ndarray, finite_output: Rounded, axes: Sequence[Axis]) -> Rounded:
    """Set outputs to NaN, ±∞ or undecided, by the input's elements that they read."""
    has_sign = [np.abs(a.weights.value) > a.weights.error for a in axes]
    signs = [
        np.where(s, np.sign(a.weights.value), 0.0) for s, a in zip(has_sign, axes, strict=True)
    ]
    size = [a.by_element(np.abs(s)) for a, s in zip(axes, signs, strict=True)]
    sign = [a.by_element(s) for a, s in zip(axes, signs, strict=True)]
    touched = [
        a.by_element((a.touched | s).astype(float)) for a, s in zip(axes, has_sign, strict=True)
    ]
    nonfinite = ~np.isfinite(x)
    direction = np.where(np.isinf(x), np.sign(x), 0.0)
    infinity_count = apply_matrices(np.abs(direction), size)
    signed_infinity_count = apply_matrices(direction, sign)
    undecided = apply_matrices(nonfinite.astype(float), touched) > apply_matrices(
        nonfinite.astype(float), size
    )
    has_nan = apply_matrices(np.isnan(x).astype(float), size) > 0
    has_both_infinities = (infinity_count > 0) & (np.abs(signed_infinity_count) < infinity_count)
    # Two taps may read one element with weights of opposite signs, which a form may add first.
    has_negative_weight = any((s < 0).any() for s in signs)
    value = np.where(
        infinity_count > 0, np.copysign(np.inf, signed_infinity_count), finite_output.value
    )
    value = np.where(has_nan | has_both_infinities, np.nan, value)
    error = np.where((infinity_count > 0) | has_nan, 0.0, finite_output.error)
    # A tap with weight 0 may read the same element again.
    has_zero_weight = [(a.touched & ~s).any(1) for s, a in zip(has_sign, axes, strict=True)]
    undecided = undecided | (reduce(np.logical_or.outer, has_zero_weight) & (infinity_count > 0))
    stays_open = (undecided | (has_both_infinities & has_negative_weight)) & ~has_nan
    return Rounded(value, np.where(stays_open, np.inf, error), finite_output.precision)


def interpolation_propagation(**fixed_arguments: Any) -> Propagation:
    """Propagation through weighted sums of the input's elements.

    Args:
        fixed_arguments: arguments that the layer itself fixes, such as its mode.
    """
    return Propagation(partial(_expected, fixed_arguments), special_parameters=False)
