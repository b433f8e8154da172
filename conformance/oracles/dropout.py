"""Dropout, module and function.

Sources: the pages torch.nn.Dropout and torch.nn.functional.dropout of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import Rounded
from conformance.arithmetic.wide import stored, widened
from conformance.model.case import Updated

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def dropout(
    state: State, input: Rounded, *, p: float = 0.5, inplace: bool = False, training: bool = False
) -> Rounded | Choices | Updated:
    """The function's; `training` is the module's mode."""
    return functional_dropout({}, input, p=p, training=training, inplace=inplace)


def functional_dropout(
    state: State, input: Rounded, *, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Rounded | Choices | Updated:
    """In training each element is 0, or is multiplied by 1/(1 − p); otherwise y = x."""
    output = _trained(input, p) if training and p > 0 else input
    return Updated(output, {"input": output}) if inplace else output


def _trained(input: Rounded, p: float) -> Choices:
    # A mask of zeros that is multiplied makes NaN of what is not finite.
    zeros = np.zeros(input.shape)
    masked = np.where(np.isfinite(input.value), 0.0, np.nan)
    gone = Rounded(zeros, zeros, input.precision), Rounded(masked, zeros, input.precision)
    return Choices(gone if p == 1 else (kept(input, p), *gone))


def kept(input: Rounded, p: float) -> Rounded:
    """x·1/(1 − p), the factor stored in the dtype as a mask holds it; x/(1 − p) rounds less."""
    wide = widened(input)
    one = constant(1.0, wide)
    factor = stored(one / (one - constant(p, wide)), input.precision)
    return input * factor


def dropout_shape(input: Shape, *, p: float = 0.5, inplace: bool = False) -> tuple[Shape, ...]:
    """(*) → (*)."""
    return (input,)


def functional_dropout_shape(
    input: Shape, *, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[Shape, ...]:
    """(*) → (*)."""
    return (input,)
