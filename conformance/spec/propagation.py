"""Expected outputs where operands hold NaN, infinities and huge numbers.

The oracle runs on substitutes, and its results show which outputs become NaN or infinite. That
holds where IEEE arithmetic gives the same class in any order of the sums; every other element is
left undecided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.formats import FORMATS

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

Substitute = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Propagation:
    """How NaN, infinities and huge numbers travel from the operands to the outputs.

    Args:
        expected: trial → values and bounds; values may be NaN or infinite. An infinite bound means
            that IEEE arithmetic leaves the element undecided.
        max_infinities: the most infinite numbers that `special` puts among the data.
        special_parameters: `special` also puts NaN and infinities among weights and biases, and
            tries weights that are all zero.
        zero_weights_allowed: a weight may be zero where the data hold an infinity.
        roles: roles of the inputs and state tensors that take all special numbers.
        specials_may_dominate: most of the data may be NaN or infinite: the layer compares elements,
            and adds none.
    """

    expected: Callable[[TrialLike], tuple[Rounded, ...]]
    max_infinities: int = 3
    special_parameters: bool = True
    zero_weights_allowed: bool = True
    roles: tuple[str, ...] = ("data", "hidden")
    specials_may_dominate: bool = False


def evaluate_oracle_on(
    trial: TrialLike, precision: Precision, change: Substitute
) -> tuple[Rounded, ...]:
    """Run the oracle on inputs and state that `change` has been applied to."""
    with np.errstate(all="ignore"):
        state = {k: exact_operand(change(x), precision) for k, x in trial.case.call.state.items()}
        inputs = [
            None if x is None else exact_operand(change(x), precision) for x in trial.case.inputs
        ]
        return trial.evaluate(state, inputs)


def zero_nonfinite(x: np.ndarray) -> np.ndarray:
    """The array with zeros in place of NaN and infinities."""
    return np.where(np.isfinite(x), x, 0.0)


def _expected_of_copies(trial: TrialLike) -> tuple[Rounded, ...]:
    return trial.expected


def _expected_of_sums(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return (_sums(trial, chained=False),)


def _expected_of_chained_sums(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return (_sums(trial, chained=True),)


copied = Propagation(_expected_of_copies)
"""Outputs are elements of the input."""
computed = Propagation(_expected_of_copies)
"""The oracle's own arithmetic gives NaN and infinities, and infinite bounds where undecided."""
looked_up = Propagation(_expected_of_copies, special_parameters=False, roles=("weight",))
"""Outputs are elements of a weight."""
sums = Propagation(_expected_of_sums)
"""Outputs are sums of products of two factors."""
chained_sums = Propagation(_expected_of_chained_sums)
"""Outputs are sums of products of three factors, two of which are multiplied first."""


def _sums(trial: TrialLike, *, chained: bool) -> Rounded:
    """Sums of products, classed as NaN, ±∞ or finite where every order of the terms agrees."""
    precision = trial.precision
    wide = trial.spec.traits.wide_sums and precision.wide_unit < precision.unit
    # Partial sums have the range of the format that accumulates them.
    largest = FORMATS["float32"].largest if wide else precision.largest
    (finite_sums,) = (
        x.compact
        for x in evaluate_oracle_on(trial, replace(precision, largest=largest), zero_nonfinite)
    )
    value, error = finite_sums.value, finite_sums.error
    finite_bound = np.isfinite(error)
    overflowing = _overflowing(trial, value)
    if wide:
        overflowing |= np.abs(value) - error > precision.largest * (1 + 2 * precision.unit)
        error = np.where(np.abs(value) + error > precision.largest, np.inf, error)
    value = np.where(overflowing, np.copysign(np.inf, value), value)
    error = np.where(overflowing, 0.0, error)
    if chained and not _inputs_in_range(trial, precision):
        error = np.full_like(error, np.inf)
    if all(np.isfinite(x).all() for x in trial.case.operands):
        return Rounded(value, error, precision)
    # With ±1 for every finite number nothing overflows, so only the classes remain.
    (classes,) = (x.value for x in evaluate_oracle_on(trial, precision, _signs))
    certain = np.isnan(classes) | finite_bound
    if precision.flushes and _holds_subnormal(trial, precision):
        # ∞ times a weight that may be read as zero.
        (flushed,) = evaluate_oracle_on(trial, precision, lambda x: _signs(x, precision.normal))
        certain &= (flushed.value == classes) | (np.isnan(flushed.value) & np.isnan(classes))
    nan_positions = nan_reached(trial, precision)[0]
    if chained:
        certain &= nan_positions | (np.isinf(classes) & _inputs_in_range(trial, precision))
    if trial.numerics is not None and trial.numerics.inexact:
        # Winograd's and Fourier's transforms spread NaN and ∞ over their tiles.
        certain &= nan_positions
        error = np.full_like(error, np.inf)
    special = ~np.isfinite(classes)
    error = np.where(special, np.where(certain, 0.0, np.inf), error)
    return Rounded(np.where(special, classes, value), error, precision)


def _holds_subnormal(trial: TrialLike, precision: Precision) -> bool:
    """Whether an operand holds subnormal numbers, which may be read as zero."""
    sizes = (np.abs(x) for x in trial.case.operands)
    return any(((x > 0) & (x < precision.normal)).any() for x in sizes)


def _overflowing(trial: TrialLike, value: np.ndarray) -> np.ndarray:
    """Elements whose terms have one sign and overflow: so they do in every order."""
    precision = trial.precision
    # No term exceeds the product of the largest operands, and no sum has more terms than numbers.
    largest = [np.abs(zero_nonfinite(x)).max(initial=1.0) for x in trial.case.operands]
    bound = float(np.prod(largest)) * (1 + max(x.size for x in trial.case.operands))
    if bound < precision.largest:
        return np.zeros(value.shape, bool)
    (magnitudes,) = (
        x.value for x in evaluate_oracle_on(trial, precision, lambda x: np.abs(zero_nonfinite(x)))
    )
    overflowing = np.asarray((np.abs(value) == magnitudes) & np.isfinite(magnitudes))
    if not overflowing.any():
        return overflowing
    (terms,) = (x.value for x in evaluate_oracle_on(trial, precision, np.ones_like))
    shrinkage = 1 - 2 * terms * max(precision.sum_unit, precision.unit)
    return np.asarray(overflowing & (magnitudes * shrinkage > precision.largest))


def _signs(x: np.ndarray, smallest: float = 0.0) -> np.ndarray:
    return np.where(np.isfinite(x), np.where(np.abs(x) < smallest, 0.0, np.sign(x)), x)


def _keep_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), x, 0.0)


def _inputs_in_range(trial: TrialLike, precision: Precision) -> bool:
    """Whether `in_range` holds for the inputs and the weight of a trial."""
    x1, x2, *weights = (x for x in trial.case.inputs if x is not None)
    weight = trial.case.call.state.get("weight", weights[0] if weights else None)
    assert weight is not None
    return in_range(precision, x1, weight, x2)


def in_range(precision: Precision, x1: np.ndarray, weight: np.ndarray, x2: np.ndarray) -> bool:
    """Whether no product of two factors of a bilinear form can overflow or vanish.

    An implementation may contract either side first, so that Σ_j A_ij x_j exists before it is
    multiplied by an infinite x_i. Whether single terms give ∞ − ∞ then depends on the order, too.
    The first axis of `weight` counts the outputs.
    """
    magnitudes = [np.abs(x[np.isfinite(x) & (x != 0)]) for x in (x1, weight, x2)]
    # The other two factors may overflow first even if one factor is all zeros.
    pairs = [(a, b) for a, b in combinations(magnitudes, 2) if a.size and b.size]
    high = max((a.max() * b.max() for a, b in pairs), default=0.0) * weight[0].size
    products = [a.min() * b.min() for a, b in pairs]
    low = min((*products, *(x.min() for x in magnitudes if x.size)), default=np.inf)
    return bool(high < precision.largest / 2 and low >= precision.normal)


def nan_reached(trial: TrialLike, precision: Precision) -> list[np.ndarray]:
    """Elements of each output that a NaN among the operands reaches; all else is set to zero."""
    if not any(np.isnan(x).any() for x in trial.case.operands):
        return [np.zeros(shape, bool) for shape in trial.shapes]
    return [np.isnan(result.value) for result in evaluate_oracle_on(trial, precision, _keep_nan)]
