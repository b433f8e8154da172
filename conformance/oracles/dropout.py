"""Dropout, module and function.

Sources: the pages torch.nn.Dropout and torch.nn.functional.dropout of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import Rounded, traced
from conformance.arithmetic.wide import stored, widened

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def dropout(
    state: State, input: Rounded, *, p: float = 0.5, inplace: bool = False, training: bool = False
) -> Rounded | Choices:
    """In train mode each element is zeroed, or multiplied by 1/(1 − p); in eval mode y = x."""
    return functional_dropout({}, input, p=p, training=training)


def functional_dropout(
    state: State, input: Rounded, *, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Rounded | Choices:
    """The same, with the mode as an argument."""
    if not training or p == 0:
        return input
    nothing = zeroed(input)
    return nothing if p == 1 else Choices((kept(input, p), nothing))


def kept(input: Rounded, p: float) -> Rounded:
    """What elements are that are not zeroed: x·1/(1 − p), or x/(1 − p)."""
    x = widened(input)
    left = constant(1.0, x) - constant(p, x)
    return stored(x * (constant(1.0, x) / left), input.precision)


def zeroed(input: Rounded) -> Rounded:
    """0, which does not depend on the input."""
    zeros = np.zeros(input.shape)
    result = Rounded(zeros, zeros, input.precision)
    return traced(result, [input], lambda cotangent: [None])


def dropout_shape(input: Shape, *, p: float = 0.5, inplace: bool = False) -> tuple[Shape, ...]:
    """(*) → (*)."""
    return (input,)


def functional_dropout_shape(
    input: Shape, *, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[Shape, ...]:
    """(*) → (*)."""
    return (input,)
