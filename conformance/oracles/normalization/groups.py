"""Normalisations within a sample: instance, group, RMS and local response.

Sources: their pages and those of their functions in the PyTorch documentation. As in batch
normalisation, half precision computes in float32 and stores the result with one rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.elementary import constant, power, ratio, reciprocal_sqrt, square
from conformance.arithmetic.half_precision import stepwise_if_declared, stored, widened
from conformance.arithmetic.reductions import mean
from conformance.arithmetic.rounded import Rounded, multilinear, with_pullback
from conformance.model.case import Updated
from conformance.model.formats import FORMATS
from conformance.oracles.forms import module_oracle
from conformance.oracles.normalization.batch_and_layer import (
    Normalised,
    State,
    apply_folded_affine,
    by_channel,
    copy_weight,
    last_axes,
    normalise,
    normalise_by_running,
    observe_statistics,
    scale_normalised,
    update_running,
)


def instance_norm(
    dims: int,
    default: bool,
    state: State,
    input: Rounded,
    *,
    training: bool = False,
    eps: float = 1e-5,
    momentum: float = 0.1,
    **arguments: Any,
) -> Rounded | Updated:
    """y = (x − E[x])/√(Var[x] + ε)·γ + β for each channel of each sample.

    Statistics are the sample's in train mode, and where none are tracked. Train mode updates the
    running statistics.

    Args:
        dims: number of spatial dimensions; an input with dims + 1 axes is one sample.
        default: the default of `affine` and of `track_running_stats`.
        state: weight, bias and running statistics.
        input: (N, C, *) or (C, *).
        arguments: the other arguments of the constructor.
    """
    tracked = arguments.get("track_running_stats", default)
    unbatched = len(input.shape) == dims + 1
    x = input.map(lambda array: array[np.newaxis]) if unbatched else input
    result = functional_instance_norm(
        {}, x,
        state["running_mean"] if tracked else None, state["running_var"] if tracked else None,
        state.get("weight"), state.get("bias"),
        use_input_stats=training or not tracked, momentum=momentum, eps=eps,
    )  # fmt: skip
    if not unbatched:
        return result
    if isinstance(result, Rounded):
        return result.map(lambda array: array[0])
    assert isinstance(result.outputs, Rounded)
    return Updated(result.outputs.map(lambda array: array[0]), result.state)


def functional_instance_norm(
    state: State,
    input: Rounded,
    running_mean: Rounded | None = None,
    running_var: Rounded | None = None,
    weight: Rounded | None = None,
    bias: Rounded | None = None,
    *,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Rounded | Updated:
    """The formula of `instance_norm`; running statistics observe means over the samples.

    They observe the means of the samples' means and unbiased variances Σ(x − μ)²/(n − 1). Each
    sample may update the running statistics separately, followed by a mean; or the mean updates
    them once.
    """
    x, precision = widened(input), input.precision
    axes = tuple(range(2, len(x.shape)))
    copies = (*x.shape[:2], *(1 for _ in axes))
    gain, shift = (
        None if w is None else copy_weight(by_channel(widened(w), x), copies)
        for w in (weight, bias)
    )
    if not use_input_stats:
        assert running_mean is not None
        assert running_var is not None
        normal = normalise_by_running(x, running_mean, running_var, eps)
        return stored(apply_folded_affine(x, normal, gain, shift), precision)
    normal = normalise(x, axes, eps, "batch_statistics")
    y = stored(apply_folded_affine(x, normal, gain, shift), precision)
    if running_mean is None or running_var is None:
        return y
    if not math.prod(x.shape):
        # Without a sample the running statistics stay.
        return Updated(
            y, {"running_mean": running_mean.detached, "running_var": running_var.detached}
        )
    updates = {}
    statistics = {"running_mean": running_mean, "running_var": running_var}
    for (name, before), new in zip(statistics.items(), observe_statistics(x, axes), strict=True):
        by_sample = mean(update_running(before, new, momentum), 0)
        by_mean = update_running(before, mean(new, 0), momentum)
        updates[name] = stored(
            by_sample.with_error(np.maximum(by_sample.error, by_mean.error)), precision
        )
    return Updated(y, updates)


def functional_group_norm(
    state: State,
    input: Rounded,
    weight: Rounded | None = None,
    bias: Rounded | None = None,
    *,
    num_groups: int,
    eps: float = 1e-5,
) -> Rounded:
    """y = (x − E[x])/√(Var[x] + ε)·γ + β for each group of channels; γ and β are by channel."""
    x, shape = widened(input), input.shape
    size = math.prod(shape[1:]) // num_groups
    groups = x.map(lambda array: array.reshape(shape[0], num_groups, size))
    normal = normalise(groups, (2,), eps)

    def expand(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, groups.shape).reshape(shape)

    by_channel_shape = Normalised(
        normal.result.map(lambda array: array.reshape(shape)),
        normal.mean.map(expand),
        normal.inverse_deviation.map(expand),
        normal.recomputed.map(lambda array: array.reshape(shape)),
    )
    gain, shift = (None if w is None else by_channel(widened(w), x) for w in (weight, bias))
    return stored(apply_folded_affine(x, by_channel_shape, gain, shift), input.precision)


group_norm = module_oracle(functional_group_norm, "weight", "bias")


def functional_rms_norm(
    state: State,
    input: Rounded,
    weight: Rounded | None = None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float | None = None,
) -> Rounded:
    """y = x/√(Σx²/n + ε)·γ over the last dimensions, of sizes `normalized_shape`.

    A missing ε is the machine epsilon of float64, or of float32 for all narrower dtypes.
    """
    if eps is None:
        form = FORMATS["float64" if input.precision.dtype == "float64" else "float32"]
        eps = 2 * form.unit
    x = widened(input)
    axes = last_axes(x, normalized_shape)
    numbers = x.detached
    inverse = reciprocal_sqrt(mean(square(numbers), axes, keepdims=True) + constant(eps, x))
    result = numbers * inverse
    with np.errstate(over="ignore", invalid="ignore"):
        overflows = ~(np.square(x.abs_bound).sum(axis=axes, keepdims=True) <= x.precision.largest)
    result = result.with_error(np.where(overflows, np.inf, result.error))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # r·(c − x̂·mean(c·x̂)), or r·c − x·(r³·mean(c·x)), where each factor rounds again.
        c = cotangent.detached
        factored = inverse * (c - result.detached * mean(c * result.detached, axes, keepdims=True))
        slope = inverse * inverse * inverse * mean(c * numbers, axes, keepdims=True)
        expanded = inverse * c - numbers * slope
        return [factored.with_error(np.maximum(factored.error, expanded.error))]

    y = with_pullback(result, [x], pull)
    if weight is None:
        return stored(y, input.precision)
    gain = widened(weight)
    y = scale_normalised(y, gain)
    # x·(r·γ): the slope may underflow before it is multiplied.
    y = y.with_error(y.error + x.precision.underflow * x.abs_bound)
    return stored(y, input.precision)


rms_norm = module_oracle(functional_rms_norm, "weight")


def local_response_norm(
    state: State,
    input: Rounded,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Rounded:
    """b = a·(k + α/n·Σa²)^−β, the sum over the n channels from c − ⌊n/2⌋ to c + ⌈n/2⌉ − 1.

    The page calls n the number of summed channels; its formula has n + 1 of them for even n.
    """
    x = stepwise_if_declared(widened(input), "neighbours")
    base = _of_neighbours(x, size, alpha, k)
    # a/(…)^β, or a·(…)^−β.
    return stored(ratio(x, power(base, beta, nonnegative=True)), input.precision)


def cross_map_lrn(
    state: State,
    input: Rounded,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Rounded:
    """The formula of `local_response_norm`; torch does not document this layer.

    For odd n it is the same normalisation. For even n torch's code sums n − 1 channels and divides
    by n, which is not documented. It is a chain of operations that stores each result, including
    partial sums; the oracle does the same.
    """
    base = _of_neighbours(input, size, alpha, k)
    quotient = ratio(input, power(base, beta, nonnegative=True))
    product = input * power(base, -beta, nonnegative=True)
    return quotient.with_error(np.maximum(quotient.error, product.error))


def _of_neighbours(x: Rounded, size: int, alpha: float, k: float) -> Rounded:
    """k + α/n·Σa² of the n channels around each one."""
    below, above = size // 2, (size - 1) // 2

    def window_sum(array: np.ndarray, before: int = below, after: int = above) -> np.ndarray:
        """The sum of each channel and its neighbours before and after."""
        count = array.shape[1]
        sums = np.zeros(array.shape)
        for step in range(-min(before, count), min(after, count) + 1):
            low, high = max(0, -step), min(count, count - step)
            if low < high:
                sums[:, low:high] += array[:, low + step : high + step]
        return sums

    squares = multilinear(
        window_sum,
        square(x),
        terms=max(min(size, x.shape[1]), 1),
        adjoints=[lambda cotangent: window_sum(cotangent, above, below)],
    )
    # (α/n)·Σ, or α·(Σ/n): the quotient, the product, and storing α.
    scaled = squares.detached if squares.node is None else squares
    scaled = scaled * constant(alpha / size, x)
    scaling_error = 2 * x.precision.unit * scaled.abs_bound
    scaled = scaled.with_error(scaled.error + np.where(scaled.error > 0, scaling_error, 0.0))
    return scaled + constant(k, x)
