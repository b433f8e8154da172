"""Laws of pooling by average."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.maximum import (
    function,
    leading_axes,
    per_dimension_argument,
    planes,
    singles,
    stride,
)
from conformance.model.formats import format_of, round_to
from conformance.spec.law import (
    WITHIN_TWICE_BOUND,
    Claims,
    Generator,
    Law,
    Side,
    claim,
    equality_claim,
    get_input,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _without_divisor(trial: Trial) -> dict[str, Any]:
    """divisor_override=None, if the layer has that argument."""
    return {"divisor_override": None} if trial.spec.signature.argument("divisor_override") else {}


@law(
    "constant",
    "the average of a constant is that constant, where padding does not count",
    WITHIN_TWICE_BOUND,
)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with an integer, without counting padding."""
    x = get_input(trial)
    number = float(generator.integers(1, 8))
    constant_call = trial_with(
        trial, np.full(x.shape, number), count_include_pad=False, **_without_divisor(trial)
    )
    (got,) = outputs_with_bounds(constant_call)
    wanted = Rounded(np.full(got.shape, number), np.zeros(got.shape), got.precision)
    yield claim(constant_call, (got,), Side(f"{number:g}", (wanted,)))


@law("padding", "padding that counts is zeros around the input", WITHIN_TWICE_BOUND)
def padding(trial: Trial, generator: Generator) -> Claims:
    """The call without padding on an input padded by NumPy, where padding counts."""
    pads = per_dimension_argument(trial, "padding")
    counts = trial.case.call.arguments.get("count_include_pad", True)
    has_divisor = trial.case.call.arguments.get("divisor_override") is not None
    if not any(pads) or not (counts or has_divisor):
        return
    pad_widths = [*((0, 0),) * leading_axes(trial), *((p, p) for p in pads)]
    padded_input = np.pad(get_input(trial), pad_widths)
    dims = trial.spec.signature.dims
    by_hand = trial_with(trial, padded_input, padding=0)
    # Without padding argument a window may start in the padded region.
    output_range: tuple[Any, ...] = tuple(slice(n) for n in trial.shapes[0][-dims:])
    yield equality_claim(by_hand, trial, got_moves=lambda y: y[(..., *output_range)])


@law(
    "mirrored", "mirroring the planes mirrors the windows, where they fill them", WITHIN_TWICE_BOUND
)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions flipped."""
    x, dims = get_input(trial), trial.spec.signature.dims
    names = ("kernel_size", "stride", "padding")
    rows = zip(
        x.shape[-dims:],
        trial.shapes[0][-dims:],
        *(per_dimension_argument(trial, n) for n in names),
        strict=True,
    )
    if any((n - 1) * s + k != m + 2 * p for m, n, k, s, p in rows):
        return
    spatial_axes = tuple(range(-dims, 0))
    other = trial_with(trial, np.flip(x, spatial_axes).copy())
    yield equality_claim(other, trial, got_moves=lambda y: np.flip(y, spatial_axes))


@law(
    "scaled", "the average of c·x is c times the average of x, c a power of two", WITHIN_TWICE_BOUND
)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two of either sign."""
    x, factor = get_input(trial), float(generator.choice([-1.0, 0.5, 2.0, -8.0]))
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(np.concatenate([x[x != 0], trial.expected[0].value.reshape(-1)]))
    sizes = sizes[sizes > 0]
    # Near the ends of the range scaling is inexact.
    if sizes.size and not form.normal * 2.0**12 < sizes.min() <= sizes.max() < form.largest / 2**12:
        return
    scaled_input = round_to(x * factor, trial.case.call.dtype)
    yield equality_claim(trial_with(trial, scaled_input), trial, got_moves=lambda y: y / factor)


@law("lifted", "a dimension more, of length 1, changes nothing", WITHIN_TWICE_BOUND)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    x, dims = get_input(trial), trial.spec.signature.dims
    new_dimension = int(generator.integers(2)) * dims
    arguments = dict(trial.case.call.arguments)
    for name, trivial in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        sizes = list(per_dimension_argument(trial, name))
        sizes.insert(new_dimension, trivial)
        arguments[name] = tuple(sizes)
    axis = leading_axes(trial) + new_dimension
    layer = trial.spec.name.replace(f"{dims}d", f"{dims + 1}d")
    other = trial_with(trial, np.expand_dims(x, axis), layer=layer, arguments=arguments)
    yield equality_claim(other, trial, got_moves=lambda y: np.squeeze(y, axis))


def as_sum_law(copying_law: Law) -> Law:
    """A law of pooling by maximum, for sums: they may round."""
    return replace(copying_law, exact=WITHIN_TWICE_BOUND)


SHARED = tuple(map(as_sum_law, (planes, singles, function, stride)))
LAWS = (*SHARED, constant, padding, mirrored, scaled, lifted)
