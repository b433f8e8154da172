"""How NaN and infinities propagate through a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import Propagation, finite, oracle

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike


def _floats(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == bool else np.where(np.isneginf(x), x, finite(x))


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where sequences hold NaN or infinities.

    A NaN makes its whole row NaN, by the residual and the norms. All else in its batch element is
    undecided: rows that attend to it, which forms skip or multiply by 0 where it is masked, and the
    effect of infinities. Other batch elements keep their values.
    """
    (whole,) = oracle(trial, trial.precision, _floats)
    row, case = trial.row, trial.case
    given = dict(zip(row.signature.input_names, case.inputs, strict=False))
    own = given["tgt"] if "tgt" in given else given["src"]
    assert own is not None
    axis = row.batch_axis(case, row.signature.input_names.index("tgt" if "tgt" in given else "src"))
    touched = np.zeros(1 if axis is None else own.shape[axis], bool)
    for name in ("src", "tgt", "memory"):
        x = given.get(name)
        if x is not None:
            others = tuple(k for k in range(x.ndim) if k != axis)
            touched |= ~np.isfinite(x).all(others)
    shape = [1] * own.ndim
    if axis is not None:
        shape[axis] = len(touched)
    undecided = touched.reshape(shape)
    if isinstance(whole, Choices):
        plain = whole.alternatives[0]
        several = np.any([x.value != plain.value for x in whole.alternatives[1:]], 0)
        undecided = undecided | several
    else:
        plain, several = whole, np.zeros(own.shape, bool)
    lost = np.isnan(own).any(-1, keepdims=True) & ~several.any(-1, keepdims=True)
    error = np.where(undecided, np.inf, plain.error)
    value = np.where(lost, np.nan, plain.value)
    return (Rounded(value, np.where(lost, 0.0, error), trial.precision),)


transformer = Propagation(_expected, parameters=False)
"""Propagation through sums of a row, of attentions to other rows, and of functions of the row."""
