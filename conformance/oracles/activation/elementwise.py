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

from conformance.arithmetic.choices import interval
from conformance.arithmetic.elementary import constant, irrational
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.piecewise import Piece, constant_piece, identity, piecewise
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, choose, unbroadcast, with_pullback
from conformance.model.case import Updated

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def relu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """ReLU(x) = max(0, x)."""
    return finish_activation(
        piecewise(input, (0.0,), (constant_piece(0.0), identity)), input, inplace=inplace
    )


def relu6(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """ReLU6(x) = min(max(0, x), 6)."""
    return hardtanh(state, input, min_val=0.0, max_val=6.0, inplace=inplace)


def leaky_relu(
    state: State, input: Rounded, *, negative_slope: float = 0.01, inplace: bool = False
) -> Rounded | Updated:
    """LeakyReLU(x) = max(0, x) + negative_slope · min(0, x)."""
    functions = (lambda x: x * constant(negative_slope, x), identity)
    return _piecewise(input, (0.0,), functions, inplace=inplace)


def prelu(state: State, input: Rounded, weight: Rounded) -> Rounded:
    """prelu(x) = max(0, x) + weight · min(0, x), a weight for each channel or one for all."""
    shape = _channel_shape(weight.shape, input.shape)
    a = widened(weight).map(lambda array: array.reshape(shape))
    x = widened(input)
    positive, zero = ~(x.value <= 0), x.value == 0
    flushed_input = x.flushed if x.precision.flushes else x
    in_doubt = zero | (np.abs(x.value) <= flushed_input.error)

    def forward(x: Rounded) -> Rounded:
        output = choose(positive | zero, flushed_input.detached, x.detached * a.detached)
        # A kernel may read a negative subnormal as zero to choose the side, and then return it.
        flush_error = np.where(
            in_doubt & ~zero, np.abs(x.value) + np.abs((x.detached * a.detached).value), 0.0
        )
        return output.with_error(np.maximum(output.error, flush_error))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        upper, lower = cotangent.detached, cotangent.detached * a.detached
        by_input = choose(in_doubt, interval(upper, lower), choose(positive, upper, lower))
        # The gradient of the weight first has x's shape; it is stored, then summed.
        zero = constant_piece(0.0)(x)
        product = stored(choose(positive, zero, cotangent.detached * x.detached), input.precision)
        by_weight = Rounded(product.value, product.error, x.precision)
        return [by_input, unbroadcast(by_weight, a.shape)]

    y = stored(with_pullback(forward(x), [x, a], pull), input.precision)
    # The formula multiplies 0 by an infinite slope, which is NaN; a comparison does not.
    infinite_slope, gives_nan = ~np.isfinite(a.value), np.isnan(y.value) & np.isinf(x.value)
    differs = (infinite_slope & ((x.value >= 0) | in_doubt)) | (gives_nan & ~np.isnan(a.value))
    certain = (infinite_slope | ~np.isfinite(x.value)) & ~np.isfinite(y.value)
    return y.with_error(np.where(differs, np.inf, np.where(certain, 0.0, y.error)))


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

    def limit_slope(value: float, x: Rounded) -> Rounded:
        """An end of the range as a number of the dtype: the drawn slopes are a tensor."""
        slope = constant(value, input)
        return Rounded(slope.value, slope.error, x.precision)

    def random_slope(x: Rounded) -> Rounded:
        def pull(cotangent: Rounded) -> list[Rounded | None]:
            c = cotangent.detached
            return [interval(c * limit_slope(lower, x), c * limit_slope(upper, x))]

        return with_pullback(
            interval(x.detached * limit_slope(lower, x), x.detached * limit_slope(upper, x)),
            [x],
            pull,
        )

    def mean_slope(x: Rounded) -> Rounded:
        slope = (constant(lower, x) + constant(upper, x)) * constant(0.5, x)
        return x * slope

    negative = random_slope if training else mean_slope
    return _piecewise(input, (0.0,), (negative, identity), inplace=inplace)


def threshold(
    state: State, input: Rounded, *, threshold: float, value: float, inplace: bool = False
) -> Rounded | Updated:
    """y = x where x > threshold, else value."""
    functions = (constant_piece(value), identity)
    return _piecewise(input, (threshold,), functions, inplace=inplace, by_comparison=True)


def hardtanh(
    state: State,
    input: Rounded,
    *,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Rounded | Updated:
    """HardTanh(x) = max_val where x > max_val, min_val where x < min_val, else x."""
    functions = (constant_piece(min_val), identity, constant_piece(max_val))
    return _piecewise(input, (min_val, max_val), functions, inplace=inplace)


def hardshrink(state: State, input: Rounded, *, lambd: float = 0.5) -> Rounded | Updated:
    """HardShrink(x) = x where x > λ or x < −λ, else 0."""
    functions = (identity, constant_piece(0.0), identity)
    return _piecewise(input, (-lambd, lambd), functions, above=(-lambd,), by_comparison=True)


def softshrink(state: State, input: Rounded, *, lambd: float = 0.5) -> Rounded | Updated:
    """SoftShrinkage(x) = x − λ where x > λ, x + λ where x < −λ, else 0."""
    functions = (
        lambda x: x + constant(lambd, x),
        constant_piece(0.0),
        lambda x: x + constant(-lambd, x),
    )
    return _piecewise(input, (-lambd, lambd), functions, above=(-lambd,), by_comparison=True)


def hardsigmoid(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """Hardsigmoid(x) = 0 where x ≤ −3, 1 where x ≥ 3, else x/6 + 1/2."""

    def middle(x: Rounded) -> Rounded:
        # (x + 3)/6 is a usual form, too; a product with 1/6 rounds once more than the quotient.
        sixth = irrational(1 / 6, x)
        direct, alternative = x * sixth + constant(0.5, x), (x.detached + constant(3.0, x)) * sixth
        return direct.with_error(np.maximum(direct.error, alternative.error))

    functions = (constant_piece(0.0), middle, constant_piece(1.0))
    return _piecewise(input, (-3.0, 3.0), functions, above=(3.0,), inplace=inplace)


def hardswish(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """Hardswish(x) = 0 where x ≤ −3, x where x ≥ 3, else x·(x + 3)/6.

    In the equal form x·ReLU6(x + 3)/6, product and quotient round where x ≥ 3, too.
    """

    def middle(x: Rounded) -> Rounded:
        return x * (x + constant(3.0, x)) * irrational(1 / 6, x)

    def above(x: Rounded) -> Rounded:
        # A product with the rounded 1/6 rounds once more; the gradient is computed the same way.
        def add_roundings(x: Rounded) -> Rounded:
            error = 3 * (x.precision.unit + ORACLE_UNIT) * x.abs_value
            return x.with_error(x.error + np.where(np.isfinite(error), error, 0.0))

        return with_pullback(
            add_roundings(x.detached), [x], lambda cotangent: [add_roundings(cotangent)]
        )

    functions = (constant_piece(0.0), middle, above)
    return _piecewise(input, (-3.0, 3.0), functions, above=(3.0,), inplace=inplace)


def _piecewise(
    input: Rounded,
    edges: Sequence[float],
    functions: Sequence[Piece],
    *,
    above: Sequence[float] = (),
    inplace: bool = False,
    by_comparison: bool = False,
) -> Rounded | Updated:
    """See `piecewise`.

    Args:
        by_comparison: the formula compares. NaN is neither above nor below an edge, so it gives the
            middle piece by the formula and NaN by other forms.
    """
    y = piecewise(widened(input), edges, functions, above=above)
    forms_differ = np.isnan(input.value) if by_comparison else None
    return finish_activation(stored(y, input.precision), input, forms_differ, inplace=inplace)


def _channel_shape(weight: Shape, input: Shape) -> Shape:
    """The weight's shape that broadcasts against the input: channels are its second axis."""
    if not weight or weight == (1,):
        return (1,) * len(input)
    return (1, weight[0], *(1 for _ in input[2:]))


def finish_activation(
    y: Rounded, x: Rounded, forms_differ: np.ndarray | None = None, *, inplace: bool = False
) -> Rounded | Updated:
    """The output, exact where NaN and infinities come from such inputs.

    ∞ · 0 is NaN by the formula and 0 in the limit: both are right.

    Args:
        y: the output.
        forms_differ: where else the usual forms of the formula differ; None = nowhere.
        inplace: the output is written into the input.
    """
    nonfinite = ~np.isfinite(x.value)
    certain = nonfinite & ~np.isfinite(y.value)
    undefined = np.isnan(y.value) & ~np.isnan(x.value)
    if forms_differ is not None:
        undefined = undefined | forms_differ
    error = np.where(certain, 0.0, y.error)
    y = y.with_error(np.where(undefined & nonfinite, np.inf, error))
    return Updated(y, {"input": y}) if inplace else y


def prelu_shape(input: Shape, weight: Shape) -> tuple[Shape, ...]:
    """(*) → (*), whatever the slopes."""
    return (input,)
