"""Dropout of single elements and of whole channels, and alpha dropout, which also shifts.

For the oracle each element is kept or dropped; `laws/dropout.py` tests which elements share a draw.

Sources: the pages torch.nn.Dropout, Dropout1d, Dropout2d, Dropout3d, AlphaDropout,
FeatureAlphaDropout and torch.nn.functional.dropout … feature_alpha_dropout of the PyTorch
documentation. The page refers to a paper for the numbers of alpha dropout: G. Klambauer et al.,
*Self-Normalizing Neural Networks*, 2017, section "Regularization".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constant, sqrt
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import Rounded
from conformance.model.case import Updated

State = Mapping[str, Rounded]

ALPHA = 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717
"""λα of SELU: its limit −λα replaces a dropped number."""


def dropout(
    state: State, input: Rounded, *, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Rounded | Choices | Updated:
    """In training each element becomes 0 or is multiplied by 1/(1 − p); otherwise y = x."""
    output = _drop_or_scale(input, p) if training and p > 0 else input
    return Updated(output, {"input": output}) if inplace else output


def alpha_dropout(
    state: State, input: Rounded, *, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Rounded | Choices | Updated:
    """In training each element is kept or becomes −λα, then is scaled and shifted; else y = x."""
    output = _alpha_drop_or_keep(input, p) if training and p > 0 else input
    return Updated(output, {"input": output}) if inplace else output


def _drop_or_scale(input: Rounded, p: float) -> Choices:
    dropped = _dropped_values(input, Rounded(np.zeros(()), np.zeros(()), input.precision))
    return Choices(dropped if p == 1 else (kept_value(input, p), *dropped))


def _alpha_drop_or_keep(input: Rounded, p: float) -> Choices:
    if p == 1:
        return _drop_or_scale(input, p)  # a·(−λα) + b goes to 0 with p to 1
    return Choices(
        (alpha_kept_value(input, p), *_dropped_values(input, alpha_dropped_value(input, p)))
    )


def _dropped_values(input: Rounded, replacement: Rounded) -> tuple[Rounded, Rounded]:
    """The values of dropped elements: the replacement, or NaN where a mask multiplies ±∞ or NaN."""
    value, error = (np.broadcast_to(x, input.shape) for x in (replacement.value, replacement.error))
    finite = np.isfinite(input.value)
    masked = np.where(finite, value, np.nan), np.where(finite, error, 0.0)
    return Rounded(value, error, input.precision), Rounded(*masked, input.precision)


def kept_value(input: Rounded, p: float) -> Rounded:
    """x·1/(1 − p), with the factor stored in the dtype like a mask; x/(1 − p) rounds less."""
    wide = widened(input)
    one = constant(1.0, wide)
    factor = stored(one / (one - constant(p, wide)), input.precision)
    return input * factor


def alpha_kept_value(input: Rounded, p: float) -> Rounded:
    """a·x + b; torch stores the factor, the product and the shift, each in the dtype."""
    scale, _, shift = _affine(input, p)
    return input * scale + shift


def alpha_dropped_value(like: Rounded, p: float) -> Rounded:
    """b − a·λα, both terms stored in the dtype before they are added.

    Args:
        like: any number of the same precision.
        p: probability of dropping.
    """
    _, depth, shift = _affine(like, p)
    return shift - depth


def alpha_scale(like: Rounded, p: float) -> Rounded:
    """a, stored in the dtype: the slope of kept elements."""
    return _affine(like, p)[0]


def _affine(input: Rounded, p: float) -> tuple[Rounded, Rounded, Rounded]:
    """a = ((1 − p)(1 + p(λα)²))^−½, a·λα and b = p·a·λα, which keep mean 0 and variance 1."""
    wide = widened(input.detached)
    one, rate, alpha = (constant(x, wide) for x in (1.0, p, ALPHA))
    scale = one / sqrt((one - rate) * (one + rate * (alpha * alpha)))
    depth = alpha * scale
    parts = (scale, depth, depth * rate)
    scale, depth, shift = (stored(x.detached, input.precision).detached for x in parts)
    return scale, depth, shift
