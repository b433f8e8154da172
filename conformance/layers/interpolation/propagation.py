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

from conformance.arithmetic.half_precision import wide
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.interpolation.axis import Axis, averaged
from conformance.oracles.interpolation.interpolate import Resize
from conformance.oracles.interpolation.sums import applied
from conformance.spec.propagation import Propagation, finite, oracle
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import TrialLike


def _expected(fixed: Mapping[str, Any], trial: TrialLike) -> tuple[Rounded, ...]:
    given = {
        "mode": "nearest",
        **trial.row.signature.defaults,
        **trial.case.call.arguments,
        **fixed,
    }
    x = trial.case.inputs[0]
    assert x is not None
    with np.errstate(all="ignore"):
        if given["mode"].startswith("nearest"):
            return trial.expected
        (whole,) = oracle(trial, trial.precision, finite)
        axes = _axes(x.shape[2:], given, wide(trial.precision))
        whole = _in_range(finite(x), whole, axes)
        return (whole if np.isfinite(x).all() else _classified(x, whole, axes),)


def _axes(lengths: Shape, given: Mapping[str, Any], precision: Precision) -> Sequence[Axis]:
    corners, recompute = given.get("align_corners"), given.get("recompute_scale_factor")
    resize = Resize.of(lengths, given["size"], given["scale_factor"], corners, recompute)
    if given["mode"] == "area":
        return [averaged(o, n, precision)[0] for o, n in zip(resize.outputs, lengths, strict=True)]
    antialias = bool(given.get("antialias"))
    return resize.axes(given["mode"], antialias, precision, precision.store)


def _in_range(x: np.ndarray, whole: Rounded, axes: Sequence[Axis]) -> Rounded:
    """Leave outputs open where sums along some dimensions may overflow, but the total does not."""
    largest = axes[0].weights.precision.largest
    sizes = [axis.gathered(np.abs(axis.weights.value)) for axis in axes]
    if np.abs(x).max(initial=0.0) * np.prod([m.sum(1).max() for m in sizes]) < largest:
        return whole
    error = whole.error
    for some in product((False, True), repeat=len(axes)):
        pairs = list(zip(some, axes, sizes, strict=True))
        first = [m if now else np.eye(a.length) for now, a, m in pairs]
        read = [a.gathered(a.touched.astype(float)) for a in axes]
        rest = [np.eye(len(m)) if now else r for (now, _, m), r in zip(pairs, read, strict=True)]
        # Weights stored in bfloat16 are off by 2⁻⁸ each, a product of three by less than 2⁻⁶; the
        # rounding of these short float32 sums is far smaller.
        over = (applied(np.abs(x), first) * (1 + 2.0**-6) > largest).astype(float)
        error = np.where(applied(over, rest) > 0, np.inf, error)
    return whole.with_error(error)


def _classified(x: np.ndarray, whole: Rounded, axes: Sequence[Axis]) -> Rounded:
    """Set outputs to NaN, ±∞ or undecided, by the input's elements that they read."""
    sure = [np.abs(a.weights.value) > a.weights.error for a in axes]
    signs = [np.where(s, np.sign(a.weights.value), 0.0) for s, a in zip(sure, axes, strict=True)]
    size = [a.gathered(np.abs(s)) for a, s in zip(axes, signs, strict=True)]
    sign = [a.gathered(s) for a, s in zip(axes, signs, strict=True)]
    touched = [a.gathered((a.touched | s).astype(float)) for a, s in zip(axes, sure, strict=True)]
    odd = ~np.isfinite(x)
    direction = np.where(np.isinf(x), np.sign(x), 0.0)
    endless = applied(np.abs(direction), size)
    upwards = applied(direction, sign)
    doubtful = applied(odd.astype(float), touched) > applied(odd.astype(float), size)
    lost = applied(np.isnan(x).astype(float), size) > 0
    mixed = (endless > 0) & (np.abs(upwards) < endless)
    # Two taps may read one element with weights of opposite signs, which a form may add first.
    negative = any((s < 0).any() for s in signs)
    value = np.where(endless > 0, np.copysign(np.inf, upwards), whole.value)
    value = np.where(lost | mixed, np.nan, value)
    error = np.where((endless > 0) | lost, 0.0, whole.error)
    # A tap with weight 0 may read the same element again.
    spare = [(a.touched & ~s).any(1) for s, a in zip(sure, axes, strict=True)]
    doubtful = doubtful | (reduce(np.logical_or.outer, spare) & (endless > 0))
    open_ = (doubtful | (mixed & negative)) & ~lost
    return Rounded(value, np.where(open_, np.inf, error), whole.precision)


def interpolated(**fixed: Any) -> Propagation:
    """Propagation through weighted sums of the input's elements.

    Args:
        fixed: arguments that the layer itself fixes, such as its mode.
    """
    return Propagation(partial(_expected, fixed), parameters=False)
