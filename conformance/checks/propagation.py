"""What NaN, infinities and huge numbers among a call's operands make of its outputs.

Which outputs become NaN or infinite is read off the oracle run on stand-ins, where IEEE arithmetic
settles it in whatever order the sums are taken; every other element is left undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.model.formats import FORMATS
from conformance.run.trial import Trial

# Sums of these are accumulated in float32 and rounded once in half precision (DESIGN §3.3).
_WIDE = {"Linear", "LazyLinear", "functional.linear"} | {
    f"{prefix}{d}d" for prefix in ("Conv", "LazyConv", "functional.conv") for d in (1, 2, 3)
}
# A finite stand-in for ∞, in float64, and what only a multiple of it exceeds.
_FAR, _BEYOND = 2.0**664, 1e100
_MODERATE = 1e60


def is_recurrent(trial: Trial) -> bool:
    """Whether the layer has a hidden state."""
    return "hidden_size" in trial.row.required


Change = Callable[[np.ndarray], np.ndarray]


def _oracle(trial: Trial, precision: Precision, change: Change) -> tuple[Rounded, ...]:
    """The oracle on changed inputs and state."""
    with np.errstate(all="ignore"):
        state = {k: exactly(change(x), precision) for k, x in trial.case.call.state.items()}
        inputs = [None if x is None else exactly(change(x), precision) for x in trial.case.inputs]
        return trial.evaluate(state, inputs)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0.0)


def expected(trial: Trial) -> tuple[Rounded, ...]:
    """Values and bounds, NaN and infinities among the values; an infinite bound = undecided."""
    with np.errstate(all="ignore"):
        if trial.row.name == "Identity":
            return trial.expected
        if is_recurrent(trial):
            return _recurrent(trial)
        return (_sums(trial),)


def _sums(trial: Trial) -> Rounded:
    """Sums of products: NaN, ±∞ or finite by their terms, whatever the order."""
    precision = trial.precision
    wide = trial.row.name in _WIDE and precision.wide_unit < precision.unit
    # Partial sums reach as far as the format that they are accumulated in.
    reach = FORMATS["float32"].largest if wide else precision.largest
    (finite,) = (x.lean for x in _oracle(trial, replace(precision, largest=reach), _finite))
    value, error = finite.value, finite.error
    finite_bound = np.isfinite(error)
    over = _overflows(trial, value)
    if wide:
        over |= np.abs(value) - error > precision.largest * (1 + 2 * precision.unit)
        error = np.where(np.abs(value) + error > precision.largest, np.inf, error)
    value = np.where(over, np.copysign(np.inf, value), value)
    error = np.where(over, 0.0, error)
    bilinear = "ilinear" in trial.row.name
    if bilinear and not _in_range(trial, precision):
        error = np.full_like(error, np.inf)
    if all(np.isfinite(x).all() for x in trial.case.operands):
        return Rounded(value, error, precision)
    # With ±1 for every finite number nothing overflows: what is left are the classes.
    (classes,) = (x.value for x in _oracle(trial, precision, _signs))
    certain = np.isnan(classes) | finite_bound
    if precision.flushes and _holds_subnormal(trial, precision):
        # ∞ times a weight that may be read as zero.
        (flushed,) = _oracle(trial, precision, lambda x: _signs(x, precision.normal))
        certain &= (flushed.value == classes) | (np.isnan(flushed.value) & np.isnan(classes))
    taken = _taken(trial, precision)[0]
    if bilinear:
        certain &= taken | (np.isinf(classes) & _in_range(trial, precision))
    if trial.numerics is not None and trial.numerics.inexact:
        # Winograd's and Fourier's transforms spread NaN and ∞ over their tiles.
        certain &= taken
        error = np.full_like(error, np.inf)
    special = ~np.isfinite(classes)
    error = np.where(special, np.where(certain, 0.0, np.inf), error)
    return Rounded(np.where(special, classes, value), error, precision)


def _holds_subnormal(trial: Trial, precision: Precision) -> bool:
    """Whether any operand may be read as zero."""
    sizes = (np.abs(x) for x in trial.case.operands)
    return any(((x > 0) & (x < precision.normal)).any() for x in sizes)


def _overflows(trial: Trial, value: np.ndarray) -> np.ndarray:
    """Where terms of one sign add up to more than the largest number: so they do in every order."""
    precision = trial.precision
    # No term exceeds the product of the largest operands, no sum so many of them as there are.
    largest = [np.abs(_finite(x)).max(initial=1.0) for x in trial.case.operands]
    most = float(np.prod(largest)) * (1 + max(x.size for x in trial.case.operands))
    if most < precision.largest:
        return np.zeros(value.shape, bool)
    (size,) = (x.value for x in _oracle(trial, precision, lambda x: np.abs(_finite(x))))
    over = np.asarray((np.abs(value) == size) & np.isfinite(size))
    if not over.any():
        return over
    (terms,) = (x.value for x in _oracle(trial, precision, np.ones_like))
    lost = 1 - 2 * terms * max(precision.sum_unit, precision.unit)
    return np.asarray(over & (size * lost > precision.largest))


def _signs(x: np.ndarray, least: float = 0.0) -> np.ndarray:
    return np.where(np.isfinite(x), np.where(np.abs(x) < least, 0.0, np.sign(x)), x)


def _only_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), x, 0.0)


def _in_range(trial: Trial, precision: Precision) -> bool:
    """Whether no product of two factors of a bilinear form can overflow or vanish.

    The form may be contracted over either side first, so Σ_j A_ij x_j is met before it is
    multiplied by an infinite x_i; that makes ∞ − ∞ of single terms a matter of order, too.
    """
    x1, x2, *given = (x for x in trial.case.inputs if x is not None)
    weight = trial.case.call.state.get("weight", given[0] if given else None)
    assert weight is not None
    found = [np.abs(x[np.isfinite(x) & (x != 0)]) for x in (x1, weight, x2)]
    # A factor of zeros alone does not keep the other two from overflowing first.
    pairs = [(a, b) for a, b in combinations(found, 2) if a.size and b.size]
    high = max((a.max() * b.max() for a, b in pairs), default=0.0) * weight[0].size
    products = [a.min() * b.min() for a, b in pairs]
    low = min((*products, *(x.min() for x in found if x.size)), default=np.inf)
    return bool(high < precision.largest / 2 and low >= precision.normal)


def _taken(trial: Trial, precision: Precision) -> list[np.ndarray]:
    """Where each output is NaN by what NaN reaches alone."""
    if not any(np.isnan(x).any() for x in trial.case.operands):
        return [np.zeros(shape, bool) for shape in trial.shapes]
    return [np.isnan(result.value) for result in _oracle(trial, precision, _only_nan)]


def _recurrent(trial: Trial) -> tuple[Rounded, ...]:
    """NaN takes all that it reaches; one infinity saturates; what two reach is undecided."""
    precision = trial.precision
    lost = _taken(trial, precision)
    saturates = _saturates(trial, precision)

    def near(x: np.ndarray) -> np.ndarray:
        far = np.copysign(_FAR if saturates else 0.0, x)
        return np.where(np.isnan(x), 0.0, np.where(np.isinf(x), far, x))

    if saturates:
        # The smallest gate that vanishes must, times the stand-in, still be in doubt.
        doubting = replace(
            precision, largest=2.0**900, normal=max(precision.normal, 1e-80), saturates=False
        )
        reached = lost
        results = _oracle(trial, doubting, near)
    else:
        reached = lost
        if any(np.isinf(x).any() for x in trial.case.inputs if x is not None):
            beyond = _oracle(trial, precision, lambda x: np.where(np.isfinite(x), 0.0, np.nan))
            reached = [np.isnan(result.value) for result in beyond]
        results = _oracle(trial, precision, near)
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


def _saturates(trial: Trial, precision: Precision) -> bool:
    """Whether the inputs hold one infinity, and IEEE arithmetic decides all that it reaches.

    Every sum then has one infinite term at most: gates become exactly 0 or 1, tanh ±1. An infinite
    c stays so while no forget gate vanishes.
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
            return False  # ∞ goes on to every unit, and meets −∞
    weights = [w for name, w in call.state.items() if name.startswith("weight")]
    biases = [np.abs(b).max() for name, b in call.state.items() if name.startswith("bias")]
    least = min(np.abs(w).min() for w in weights)
    columns = sum(max(w.shape[1] for w in weights) for _ in range(2))
    heaviest = max(np.abs(w).max() for w in weights)
    operand = max(1.0, *(np.abs(_finite(x)).max(initial=0.0) for x in inputs if x is not None))
    if "proj_size" in call.arguments:
        operand = max(operand, columns * heaviest)
    most = columns * heaviest * operand + 2 * max(biases, default=0.0)
    gentle = -0.9 * math.log(precision.normal)
    limit = gentle if found[0] == 2 else min(precision.largest, _MODERATE) / 4
    return bool(most <= limit and least >= max(precision.normal, 1.0 / _MODERATE))
