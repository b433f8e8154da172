"""Activations that are straight lines between kinks, modules and functions.

Sources: the pages torch.nn.ReLU, ReLU6, LeakyReLU, PReLU, RReLU, Threshold, Hardtanh, Hardshrink,
Softshrink, Hardsigmoid and Hardswish of the PyTorch documentation.

At a kink the documentation does not give the derivative: any number between the slopes of the two
sides is right. The result for NaN is that of the printed formula, where all its usual forms agree.
They disagree where a comparison with NaN chooses the branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from conformance.arithmetic.choices import between
from conformance.arithmetic.elementary import constant, irrational
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.piecewise import Piece, itself, level, pieces
from conformance.arithmetic.rounded import OWN, Rounded, choose, traced, unbroadcast
from conformance.model.case import Updated

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def relu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """ReLU(x) = max(0, x)."""
    return returned(pieces(input, (0.0,), (level(0.0), itself)), input, inplace=inplace)


def relu6(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """ReLU6(x) = min(max(0, x), 6)."""
    return hardtanh(state, input, min_val=0.0, max_val=6.0, inplace=inplace)


def leaky_relu(
    state: State, input: Rounded, *, negative_slope: float = 0.01, inplace: bool = False
) -> Rounded | Updated:
    """LeakyReLU(x) = max(0, x) + negative_slope · min(0, x)."""
    functions = (lambda x: x * constant(negative_slope, x), itself)
    return _piecewise(input, (0.0,), functions, inplace=inplace)


def prelu(state: State, input: Rounded, weight: Rounded) -> Rounded:
    """prelu(x) = max(0, x) + weight · min(0, x), a weight for each channel or one for all."""
    shape = _by_channel(weight.shape, input.shape)
    a = widened(weight).map(lambda array: array.reshape(shape))
    x = widened(input)
    positive, zero = ~(x.value <= 0), x.value == 0
    read = x.flushed if x.precision.flushes else x
    in_doubt = zero | (np.abs(x.value) <= read.error)

    def sided(x: Rounded) -> Rounded:
        found = choose(positive | zero, read.bare, x.bare * a.bare)
        # A kernel may read a negative subnormal as zero to choose the side, and then return it.
        apart = np.where(in_doubt & ~zero, np.abs(x.value) + np.abs((x.bare * a.bare).value), 0.0)
        return found.with_error(np.maximum(found.error, apart))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        one, other = cotangent.bare, cotangent.bare * a.bare
        by_input = choose(in_doubt, between(one, other), choose(positive, one, other))
        # The gradient of the weight first has x's shape; it is stored, then summed.
        nothing = level(0.0)(x)
        product = stored(choose(positive, nothing, cotangent.bare * x.bare), input.precision)
        by_weight = Rounded(product.value, product.error, x.precision)
        return [by_input, unbroadcast(by_weight, a.shape)]

    y = stored(traced(sided(x), [x, a], pull), input.precision)
    # The formula multiplies 0 by an infinite slope, which is NaN; a comparison does not.
    endless, lost = ~np.isfinite(a.value), np.isnan(y.value) & np.isinf(x.value)
    differs = (endless & ((x.value >= 0) | in_doubt)) | (lost & ~np.isnan(a.value))
    settled = (endless | ~np.isfinite(x.value)) & ~np.isfinite(y.value)
    return y.with_error(np.where(differs, np.inf, np.where(settled, 0.0, y.error)))


def rrelu(
    state: State,
    input: Rounded,
    *,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    inplace: bool = False,
    training: bool = False,
) -> Rounded | Updated:
    """RReLU(x) = x where x ≥ 0, else a·x.

    In training a is drawn from U(lower, upper) for each element, else a = (lower + upper)/2.
    """

    def end(value: float, x: Rounded) -> Rounded:
        """An end of the range as a number of the dtype: the drawn slopes are a tensor."""
        slope = constant(value, input)
        return Rounded(slope.value, slope.error, x.precision)

    def drawn(x: Rounded) -> Rounded:
        def pull(cotangent: Rounded) -> list[Rounded | None]:
            c = cotangent.bare
            return [between(c * end(lower, x), c * end(upper, x))]

        return traced(between(x.bare * end(lower, x), x.bare * end(upper, x)), [x], pull)

    def mean(x: Rounded) -> Rounded:
        slope = (constant(lower, x) + constant(upper, x)) * constant(0.5, x)
        return x * slope

    negative = drawn if training else mean
    return _piecewise(input, (0.0,), (negative, itself), inplace=inplace)


def threshold(
    state: State, input: Rounded, *, threshold: float, value: float, inplace: bool = False
) -> Rounded | Updated:
    """y = x where x > threshold, else value."""
    functions = (level(value), itself)
    return _piecewise(input, (threshold,), functions, inplace=inplace, compared=True)


def hardtanh(
    state: State,
    input: Rounded,
    *,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Rounded | Updated:
    """HardTanh(x) = max_val where x > max_val, min_val where x < min_val, else x."""
    functions = (level(min_val), itself, level(max_val))
    return _piecewise(input, (min_val, max_val), functions, inplace=inplace)


def hardshrink(state: State, input: Rounded, *, lambd: float = 0.5) -> Rounded | Updated:
    """HardShrink(x) = x where x > λ or x < −λ, else 0."""
    functions = (itself, level(0.0), itself)
    return _piecewise(input, (-lambd, lambd), functions, above=(-lambd,), compared=True)


def softshrink(state: State, input: Rounded, *, lambd: float = 0.5) -> Rounded | Updated:
    """SoftShrinkage(x) = x − λ where x > λ, x + λ where x < −λ, else 0."""
    functions = (
        lambda x: x + constant(lambd, x),
        level(0.0),
        lambda x: x + constant(-lambd, x),
    )
    return _piecewise(input, (-lambd, lambd), functions, above=(-lambd,), compared=True)


def hardsigmoid(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """Hardsigmoid(x) = 0 where x ≤ −3, 1 where x ≥ 3, else x/6 + 1/2."""

    def middle(x: Rounded) -> Rounded:
        # (x + 3)/6 is a usual form, too; a product with 1/6 rounds once more than the quotient.
        sixth = irrational(1 / 6, x)
        one, other = x * sixth + constant(0.5, x), (x.bare + constant(3.0, x)) * sixth
        return one.with_error(np.maximum(one.error, other.error))

    functions = (level(0.0), middle, level(1.0))
    return _piecewise(input, (-3.0, 3.0), functions, above=(3.0,), inplace=inplace)


def hardswish(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """Hardswish(x) = 0 where x ≤ −3, x where x ≥ 3, else x·(x + 3)/6.

    In the equal form x·ReLU6(x + 3)/6, product and quotient round where x ≥ 3, too.
    """

    def middle(x: Rounded) -> Rounded:
        return x * (x + constant(3.0, x)) * irrational(1 / 6, x)

    def above(x: Rounded) -> Rounded:
        # A product with the rounded 1/6 rounds once more; the gradient is computed the same way.
        def rounded(x: Rounded) -> Rounded:
            error = 3 * (x.precision.unit + OWN) * x.size
            return x.with_error(x.error + np.where(np.isfinite(error), error, 0.0))

        return traced(rounded(x.bare), [x], lambda cotangent: [rounded(cotangent)])

    functions = (level(0.0), middle, above)
    return _piecewise(input, (-3.0, 3.0), functions, above=(3.0,), inplace=inplace)


def _piecewise(
    input: Rounded,
    edges: Sequence[float],
    functions: Sequence[Piece],
    *,
    above: Sequence[float] = (),
    inplace: bool = False,
    compared: bool = False,
) -> Rounded | Updated:
    """See `pieces`.

    Args:
        compared: the formula compares. NaN is neither above nor below an edge, so it gives the
            middle piece by the formula and NaN by other forms.
    """
    y = pieces(widened(input), edges, functions, above=above)
    either = np.isnan(input.value) if compared else None
    return returned(stored(y, input.precision), input, either, inplace=inplace)


def _by_channel(weight: Shape, input: Shape) -> Shape:
    """The weight's shape that broadcasts against the input: channels are its second axis."""
    if not weight or weight == (1,):
        return (1,) * len(input)
    return (1, weight[0], *(1 for _ in input[2:]))


def returned(
    y: Rounded, x: Rounded, either: np.ndarray | None = None, *, inplace: bool = False
) -> Rounded | Updated:
    """The output, exact where NaN and infinities come from such inputs.

    ∞ · 0 is NaN by the formula and 0 in the limit: both are right.

    Args:
        y: the output.
        either: where else the usual forms of the formula differ; None = nowhere.
        inplace: the output is written into the input.
    """
    endless = ~np.isfinite(x.value)
    settled = endless & ~np.isfinite(y.value)
    undefined = np.isnan(y.value) & ~np.isnan(x.value)
    if either is not None:
        undefined = undefined | either
    error = np.where(settled, 0.0, y.error)
    y = y.with_error(np.where(undefined & endless, np.inf, error))
    return Updated(y, {"input": y}) if inplace else y


def prelu_shape(input: Shape, weight: Shape) -> tuple[Shape, ...]:
    """(*) → (*), whatever the slopes."""
    return (input,)
