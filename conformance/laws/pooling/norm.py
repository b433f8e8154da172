"""Laws of pooling by the p-norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.pooling.average import as_sum_law
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
    WITHIN_SUM_OF_BOUNDS,
    WITHIN_TWICE_BOUND,
    Claims,
    Generator,
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


def _norm(trial: Trial) -> float:
    return float(trial.case.call.arguments["norm_type"])


@law("largest", "p = ∞ is pooling of the absolute values by maximum", WITHIN_TWICE_BOUND)
def largest(trial: Trial, generator: Generator) -> Claims:
    """Maximum pooling of |x|, compared with the call with p = ∞."""
    x, arguments = get_input(trial), dict(trial.case.call.arguments)
    arguments.pop("norm_type")
    layer = trial.spec.name.replace("LP", "Max").replace("lp_", "max_")
    wanted = trial_with(trial, np.abs(x), layer=layer, arguments=arguments)
    yield equality_claim(trial_with(trial, x, norm_type=math.inf), wanted)


@law("sum", "p = 1 is the average times the number of elements", WITHIN_SUM_OF_BOUNDS)
def sum_of(trial: Trial, generator: Generator) -> Claims:
    """Average pooling, where all windows lie within the input: others sum fewer elements."""
    x, dims = get_input(trial), trial.spec.signature.dims
    arguments = dict(trial.case.call.arguments)
    arguments.pop("norm_type")
    kernel = per_dimension_argument(trial, "kernel_size")
    ends = zip(
        trial.shapes[0][-dims:],
        per_dimension_argument(trial, "stride"),
        kernel,
        x.shape[-dims:],
        strict=True,
    )
    if any((n - 1) * s + k > m for n, s, k, m in ends):
        return
    size = math.prod(kernel)
    if math.frexp(size)[0] != 0.5:
        return  # the quotient rounds
    layer = trial.spec.name.replace("LP", "Avg").replace("lp_", "avg_")
    average = trial_with(trial, x, layer=layer, arguments=arguments)
    yield equality_claim(average, trial_with(trial, x, norm_type=1), got_moves=lambda y: y * size)


@law("signs", "an even p, and ∞, know no signs", WITHIN_TWICE_BOUND)
def signs(trial: Trial, generator: Generator) -> Claims:
    """The call on |x|."""
    if _norm(trial) % 2 == 0 or _norm(trial) == math.inf:
        yield equality_claim(trial_with(trial, np.abs(get_input(trial))), trial)


@law("scaled", "the norm of c·x is c times the norm of x, c > 0 a power of two", WITHIN_TWICE_BOUND)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, where no power is near the ends of the range."""
    x, factor = get_input(trial), float(generator.choice([0.5, 2.0]))
    p = 1.0 if _norm(trial) == math.inf else max(_norm(trial), 1.0)
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(x[x != 0]) ** p
    if sizes.size and not form.normal * 2.0**8 < sizes.min() <= sizes.max() < form.largest / 2**12:
        return
    scaled_input = round_to(x * factor, trial.case.call.dtype)
    other = trial_with(trial, scaled_input)
    # The root of 1 is exact, the root of another number is not.
    unscaled = tuple(y.map(lambda array: array / factor) for y in outputs_with_bounds(other))
    yield claim(other, unscaled, Side(trial.text(), outputs_with_bounds(trial), trial))


@law("lifted", "a dimension more, of length 1, changes nothing", WITHIN_TWICE_BOUND)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    x, dims = get_input(trial), trial.spec.signature.dims
    new_dimension = int(generator.integers(2)) * dims
    arguments = dict(trial.case.call.arguments)
    for name in ("kernel_size", "stride"):
        sizes = list(per_dimension_argument(trial, name))
        sizes.insert(new_dimension, 1)
        arguments[name] = tuple(sizes)
    axis = leading_axes(trial) + new_dimension
    layer = trial.spec.name.replace(f"{dims}d", f"{dims + 1}d")
    other = trial_with(trial, np.expand_dims(x, axis), layer=layer, arguments=arguments)
    yield equality_claim(other, trial, got_moves=lambda y: np.squeeze(y, axis))


SHARED = tuple(map(as_sum_law, (planes, singles, function, stride)))
LAWS = (*SHARED, largest, sum_of, signs, scaled, lifted)
