"""LayerNorm and BatchNorm: modules and functions.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.LayerNorm, BatchNorm1d to BatchNorm3d, LazyBatchNorm1d to
LazyBatchNorm3d and torch.nn.functional.layer_norm, batch_norm of the PyTorch documentation.

In half precision statistics and normalised numbers are computed in float32, and one rounding stores
the result. With a mean of 100 rounded to bfloat16, no bit of a deviation of 1 would remain. A
backend that stores its statistics declares it, and the oracle applies that by `stored_if_declared`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conformance.arithmetic.elementary import constant, reciprocal_sqrt
from conformance.arithmetic.half_precision import (
    is_stored,
    stepwise_if_declared,
    stored,
    stored_if_declared,
    stored_with_gradient_if_declared,
    widened,
)
from conformance.arithmetic.reductions import mean, variance
from conformance.arithmetic.rounded import Rounded, unbroadcast, with_pullback
from conformance.model.case import Updated
from conformance.model.formats import FORMATS
from conformance.oracles.forms import module_oracle

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def functional_layer_norm(
    state: State,
    input: Rounded,
    weight: Rounded | None = None,
    bias: Rounded | None = None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float = 1e-5,
) -> Rounded:
    """y = (x − E[x])/√(Var[x] + ε)·γ + β over the last dimensions, of sizes `normalized_shape`.

    γ and β have the shape `normalized_shape`; left out, they are 1 and 0.
    """
    output = wide_layer_norm(input, weight, bias, normalized_shape=normalized_shape, eps=eps)
    return stored(output, input.precision)


def wide_layer_norm(
    input: Rounded,
    weight: Rounded | None,
    bias: Rounded | None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float,
) -> Rounded:
    """Layer normalisation in the wide precision, before the result is stored."""
    x = widened(input)
    axes = last_axes(x, normalized_shape)
    normal = normalise(x, axes, eps)
    gain, shift = (None if w is None else copy_weight(widened(w), x.shape) for w in (weight, bias))
    if x.precision.store:
        # In half precision an implementation may compute x·r − μ·r in float32.
        return apply_folded_affine(x, normal, gain, shift)
    return _apply_affine(x, normal, gain, shift)


layer_norm = module_oracle(functional_layer_norm, "weight", "bias")


def last_axes(x: Rounded, sizes: int | Sequence[int]) -> tuple[int, ...]:
    """The last axes, one for each size."""
    count = 1 if isinstance(sizes, int) else len(sizes)
    return tuple(range(len(x.shape) - count, len(x.shape)))


def batch_norm(
    state: State,
    input: Rounded,
    *,
    num_features: int | None = None,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
    bias: bool = True,
    training: bool = False,
) -> Rounded | Updated:
    """y = (x − E[x])/√(Var[x] + ε)·γ + β for each channel, and the running statistics.

    Statistics are the batch's in train mode, and where none are tracked. Train mode updates the
    running statistics and the number of batches; a momentum of None is one over that number. A lazy
    layer takes num_features from its input.
    """
    weight = state["weight"] if affine else None
    shift = state["bias"] if affine and bias else None
    running_mean = state["running_mean"] if track_running_stats else None
    running_variance = state["running_var"] if track_running_stats else None
    if not (training and track_running_stats):
        batch = not track_running_stats
        return functional_batch_norm(
            {}, input, running_mean, running_variance, weight, shift, training=batch, eps=eps
        )
    count = state["num_batches_tracked"].value + 1
    factor = 1.0 / float(count) if momentum is None else momentum
    result = functional_batch_norm(
        {},
        input,
        running_mean,
        running_variance,
        weight,
        shift,
        training=True,
        momentum=factor,
        eps=eps,
    )
    assert isinstance(result, Updated)
    number = Rounded(count, np.zeros(count.shape), input.precision)
    return Updated(result.outputs, {**result.state, "num_batches_tracked": number})


def functional_batch_norm(
    state: State,
    input: Rounded,
    running_mean: Rounded | None,
    running_var: Rounded | None,
    weight: Rounded | None = None,
    bias: Rounded | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Rounded | Updated:
    """y = (x − μ)/√(v + ε)·γ + β for each channel, the second axis.

    In training μ and v = Σ(x − μ)²/n are the batch's. The running statistics become (1 −
    momentum)·running + momentum·new, where the new variance is Σ(x − μ)²/(n − 1).
    """
    x, precision = widened(input), input.precision
    gain = None if weight is None else by_channel(widened(weight), x)
    shift = None if bias is None else by_channel(widened(bias), x)
    if not training:
        assert running_mean is not None
        assert running_var is not None
        normal = normalise_by_running(x, running_mean, running_var, eps)
        return stored(apply_folded_affine(x, normal, gain, shift), precision)
    axes = (0, *range(2, len(x.shape)))
    normal = normalise(x, axes, eps, "batch_statistics")
    y = stored(apply_folded_affine(x, normal, gain, shift), precision)
    if running_mean is None or running_var is None:
        return y
    count = math.prod(x.shape[axis] for axis in axes)
    if not count:
        # An empty batch has no statistics: the running ones stay.
        return Updated(
            y, {"running_mean": running_mean.detached, "running_var": running_var.detached}
        )
    running = {"running_mean": running_mean, "running_var": running_var}
    observations = dict(zip(running, observe_statistics(x, axes), strict=True))
    return Updated(
        y,
        {
            name: stored(update_running(old, observations[name], momentum), precision)
            for name, old in running.items()
        },
    )


@dataclass(frozen=True, eq=False)
class Normalised:
    """Numbers minus their mean, divided by their standard deviation.

    Args:
        result: (x − μ)/√(v + ε).
        mean: μ, as the forward pass subtracts it.
        inverse_deviation: 1/√(v + ε).
        recomputed: the result as the backward pass recomputes it.
    """

    result: Rounded
    mean: Rounded
    inverse_deviation: Rounded
    recomputed: Rounded


def normalise_by_running(x: Rounded, mean: Rounded, variance: Rounded, eps: float) -> Normalised:
    """(x − μ)/√(v + ε) for each channel, with running statistics."""
    centre, spread = (by_channel(widened(s), x) for s in (mean, variance))
    inverse = reciprocal_sqrt(spread + constant(eps, x))
    result = (x - centre) * inverse
    return Normalised(result, centre, inverse, result.detached)


def observe_statistics(x: Rounded, axes: tuple[int, ...]) -> tuple[Rounded, Rounded]:
    """New values for running statistics: the mean along axes, and Σ(x − μ)²/(n − 1)."""
    centre, spread = mean(x.detached, axes, running=True), variance(x.detached, axes)
    stored_mean = stored_if_declared(centre, "batch_statistics")
    if stored_mean is not centre:
        # As in `_inverse_deviation`; n/(n − 1) is at most 2.
        spread = spread.with_error(spread.error + 2.0 * np.square(stored_mean.error))
    return stored_mean, _stored_variance(spread, "batch_statistics")


def _stored_variance(spread: Rounded, storage_name: str) -> Rounded:
    """A batch's variance, which a backend may store, like Σ(x − μ)²; the backward pass uses
    neither.
    """
    if storage_name != "batch_statistics":
        return spread
    return stored_if_declared(stored_if_declared(spread, storage_name), storage_name)


def normalise(
    x: Rounded, axes: tuple[int, ...], eps: float, storage_name: str = "saved_statistics"
) -> Normalised:
    """(x − E[x])/√(Var[x] + ε) along axes, Var[x] = Σ(x − E[x])²/n.

    Welford's updates, or E[x²], square the numbers themselves: where that overflows, nothing is
    known. The gradient is r·(c − mean(c) − x̂·mean(c·x̂)), r = 1/√(Var[x] + ε). Differentiating
    step by step would add numbers that cancel.

    Args:
        axes: axes of mean and variance.
        eps: ε, which is added to the variance.
        storage_name: name by which a backend declares that it stores μ and r. `"batch_statistics"`
            stores them, and Var[x], before they are used; another name stores them for the backward
            pass.
    """
    numbers = x.detached
    centre = mean(numbers, axes, keepdims=True, running=True)
    spread = variance(numbers, axes, correction=0.0, keepdims=True)
    stored_mean, slope = (
        stored_if_declared(centre, storage_name),
        _inverse_deviation(centre, spread, eps, storage_name),
    )
    recomputed = (numbers - stored_mean) * slope
    if storage_name == "batch_statistics":
        centre, inverse = stored_mean, slope
    else:
        inverse = reciprocal_sqrt(spread + constant(eps, x))
    result = (numbers - centre) * inverse
    with np.errstate(over="ignore", invalid="ignore"):
        overflows = ~(np.square(x.abs_bound).sum(axis=axes, keepdims=True) <= x.precision.largest)
    result = result.with_error(np.where(overflows, np.inf, result.error))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.detached
        weight = mean(c * recomputed.detached, axes, keepdims=True)
        gradient = slope * (c - mean(c, axes, keepdims=True) - recomputed.detached * weight)
        uncentred = _uncentred_error(numbers, c, axes, stored_mean, slope, weight)
        return [gradient.with_error(gradient.error + uncentred)]

    return Normalised(with_pullback(result, [x], pull), centre, inverse, recomputed)


def _inverse_deviation(centre: Rounded, spread: Rounded, eps: float, storage_name: str) -> Rounded:
    """r = 1/√(v + ε), where the backend may store μ, v and r.

    With a stored mean m, Σ(x − m)²/n is v + (m − μ)², so r becomes r/√(1 + (m − μ)²·r²). The bound
    covers that decrease.
    """
    inverse = reciprocal_sqrt(_stored_variance(spread, storage_name) + constant(eps, spread))
    stored_mean = stored_if_declared(centre, storage_name)
    if stored_mean is not centre:
        with np.errstate(over="ignore", invalid="ignore"):
            decrease = 1.0 - 1.0 / np.sqrt(1.0 + np.square(stored_mean.error * inverse.abs_bound))
            inverse = inverse.with_error(inverse.error + decrease * inverse.abs_bound)
    return stored_if_declared(inverse, storage_name)


def _uncentred_error(
    x: Rounded,
    c: Rounded,
    axes: tuple[int, ...],
    centre: Rounded,
    inverse: Rounded,
    weight: Rounded,
) -> np.ndarray:
    """Further error of the form r·c + b·x − (b·μ + r·mean(c)), b = r³·(μ·mean(c) − mean(c·x)).

    The sums in b have n terms as large as c·x and c·μ; b's error is finally multiplied by x − μ.
    b·x, b·μ and their sums are as large as b·(|x| + |μ|), where b = −r²·mean(c·x̂) plus its error.
    That makes n·u·κ with κ = (|x| + |μ|)·r, as in the forward pass. Where c equals its own mean,
    r·c is rounded before r·mean(c) is subtracted, so the difference is not 0. Beyond the range of
    the format nothing is known.
    """
    count, unit = math.prod(x.shape[axis] for axis in axes), x.precision.unit
    with np.errstate(over="ignore", invalid="ignore"):
        r, magnitudes = inverse.abs_bound, x.abs_bound + centre.abs_bound
        terms = (c.abs_bound * magnitudes).sum(axis=axes, keepdims=True) / max(count, 1)
        # A term in b: n − 1 additions, the quotient by n, the product, storing μ, and the
        # difference of the sums.
        slope_error = (count + 3) * unit * r**3 * terms
        product = (r**2 * weight.abs_bound + slope_error) * magnitudes
        mean_of = c.abs_bound.sum(axis=axes, keepdims=True) / max(count, 1)
        error_bound = slope_error * (np.abs(x.value - centre.value) + centre.error)
        # b·x, b·μ and their sum: 3; storing r·c and r·mean(c): 2.
        error_bound = error_bound + unit * (3 * product + 2 * r * (c.abs_bound + mean_of))
        in_range = product <= x.precision.largest
    return np.where(in_range, error_bound, np.inf)


def by_channel(x: Rounded, like: Rounded) -> Rounded:
    """(C) → (C, 1, …), to broadcast against (N, C, …)."""
    return x.map(lambda array: array.reshape(-1, *(1 for _ in like.shape[2:])))


def copy_weight(weight: Rounded, shape: Shape) -> Rounded:
    """The weight broadcast to a shape, for backends that store the partial sums of its gradient.

    Args:
        weight: broadcasts to the shape.
        shape: n copies of the weight; each of the n steps of the gradient's sum is stored.
    """
    inner = weight.precision
    if not is_stored(inner, "weight_gradients") or weight.shape == shape:
        return weight
    coarse = replace(inner, sum_unit=FORMATS[inner.store].unit, bits=0)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        coarse_cotangent = Rounded(cotangent.value, cotangent.error, coarse)
        summed = unbroadcast(coarse_cotangent, weight.shape)
        return [Rounded(summed.value, summed.error, inner)]

    value, error = (np.broadcast_to(a, shape).copy() for a in (weight.value, weight.error))
    return with_pullback(Rounded(value, error, inner), [weight], pull)


def _apply_affine(
    x: Rounded, normal: Normalised, gain: Rounded | None, shift: Rounded | None
) -> Rounded:
    """x̂·γ + β, γ and β optional; γ's gradient may recompute x̂ as x·r − μ·r."""
    y = normal.result
    if gain is not None:
        recomputed = normal.recomputed.with_error(
            normal.recomputed.error + _folding_error(x, normal)
        )
        y = scale_normalised(y, gain, stored_if_declared(recomputed, "normalised"))
    return y if shift is None else stored_with_gradient_if_declared(y, "normalised") + shift


def scale_normalised(normal: Rounded, gain: Rounded, recomputed: Rounded | None = None) -> Rounded:
    """x̂·γ, where the backend may store x̂ and each term of γ's gradient.

    Args:
        normal: x̂.
        gain: γ, which broadcasts to x̂'s shape.
        recomputed: x̂ as the backward pass computes it; None = as the forward pass does.
    """
    result = stored_with_gradient_if_declared(normal, "normalised")
    factor = (result if recomputed is None else recomputed).detached

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.detached
        terms = stored_if_declared(c * factor, "normalised")
        return [c * gain.detached, unbroadcast(terms, gain.shape)]

    return with_pullback(result.detached * gain.detached, [result, gain], pull)


def _folding_error(x: Rounded, normal: Normalised, gain: Rounded | None = None) -> np.ndarray:
    """Error of the form x·s − μ·s, s = γ/√(v + ε): three roundings of numbers up to (|x| + |μ|)·s.

    s itself may underflow before it is multiplied.
    """
    precision = x.precision
    with np.errstate(over="ignore", invalid="ignore"):
        size = x.abs_bound + normal.mean.abs_bound
        slope = normal.inverse_deviation.abs_bound * (1.0 if gain is None else gain.abs_bound)
        error = 3 * precision.unit * size * slope + precision.underflow * size
    return np.where(np.isnan(error), np.inf, error)


def apply_folded_affine(
    x: Rounded, normal: Normalised, gain: Rounded | None, shift: Rounded | None
) -> Rounded:
    """x̂·γ + β, or x·s + (β − μ·s) with s = γ/√(v + ε), one number for a whole channel.

    The latter also rounds β together with μ·s.
    """
    y = _apply_affine(x, normal, gain, shift)
    offset = x.precision.unit * (0.0 if shift is None else shift.abs_bound)
    return y.with_error(y.error + _folding_error(x, normal, gain) + offset)


def update_running(old: Rounded, new: Rounded, momentum: float) -> Rounded:
    """(1 − m)·old + m·new, or old + m·(new − old).

    The latter rounds the difference and its product with m, numbers up to m·(|old| + |new|). It is
    exact where the former is.

    Args:
        old: the running statistic before the call.
        new: the observed statistic, wide.
    """
    old, new = (stepwise_if_declared(x.detached, "batch_statistics") for x in (widened(old), new))
    m = constant(momentum, old)
    updated = (constant(1.0, old) - m) * old + m * new
    steps = 2 * old.precision.unit * abs(momentum) * (old.abs_bound + new.abs_bound)
    return updated.with_error(updated.error + np.where(updated.error > 0, steps, 0.0))
