"""How NaN and infinities propagate through a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import Propagation, evaluate_oracle_on, zero_nonfinite

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike


def _finite_except_masked(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == bool else np.where(np.isneginf(x), x, zero_nonfinite(x))


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where sequences hold NaN or infinities.

    A NaN makes its whole row NaN, by the residual and the norms. All else in its batch element is
    undecided: rows that attend to it, which forms skip or multiply by 0 where it is masked, and the
    effect of infinities. Other batch elements keep their values.
    """
    (finite_output,) = evaluate_oracle_on(trial, trial.precision, _finite_except_masked)
    spec, case = trial.spec, trial.case
    inputs = dict(zip(spec.signature.input_names, case.inputs, strict=False))
    rows = inputs["tgt"] if "tgt" in inputs else inputs["src"]
    assert rows is not None
    axis = spec.batch_axis(
        case, spec.signature.input_names.index("tgt" if "tgt" in inputs else "src")
    )
    is_reached = np.zeros(1 if axis is None else rows.shape[axis], bool)
    for name in ("src", "tgt", "memory"):
        x = inputs.get(name)
        if x is not None:
            other_axes = tuple(k for k in range(x.ndim) if k != axis)
            is_reached |= ~np.isfinite(x).all(other_axes)
    shape = [1] * rows.ndim
    if axis is not None:
        shape[axis] = len(is_reached)
    undecided = is_reached.reshape(shape)
    if isinstance(finite_output, Choices):
        first_choice = finite_output.alternatives[0]
        differs = np.any([x.value != first_choice.value for x in finite_output.alternatives[1:]], 0)
        undecided = undecided | differs
    else:
        first_choice, differs = finite_output, np.zeros(rows.shape, bool)
    is_nan = np.isnan(rows).any(-1, keepdims=True) & ~differs.any(-1, keepdims=True)
    error = np.where(undecided, np.inf, first_choice.error)
    value = np.where(is_nan, np.nan, first_choice.value)
    return (Rounded(value, np.where(is_nan, 0.0, error), trial.precision),)


transformer_propagation = Propagation(_expected, special_parameters=False)
"""Propagation through sums of a row, of attentions to other rows, and of functions of the row."""
