"""Laws of pooling by the p-norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.pooling.average import moved
from conformance.laws.pooling.maximum import function, leading, numbers, planes, singles, stride
from conformance.model.formats import format_of, round_to
from conformance.spec.law import (
    MOVED,
    SUMMED,
    Claims,
    Generator,
    Side,
    called,
    claim,
    input_of,
    law,
    measured,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _norm(trial: Trial) -> float:
    return float(trial.case.call.arguments["norm_type"])


@law("largest", "p = ∞ is pooling of the absolute values by maximum", MOVED)
def largest(trial: Trial, generator: Generator) -> Claims:
    """Maximum pooling of |x|, compared with the call with p = ∞."""
    x, given = input_of(trial), dict(trial.case.call.arguments)
    given.pop("norm_type")
    layer = trial.row.name.replace("LP", "Max").replace("lp_", "max_")
    wanted = called(trial, np.abs(x), layer=layer, arguments=given)
    yield same(called(trial, x, norm_type=math.inf), wanted)


@law("sum", "p = 1 is the average times the number of elements", SUMMED)
def sum_of(trial: Trial, generator: Generator) -> Claims:
    """Average pooling, where all windows lie within the input: others sum fewer elements."""
    x, dims = input_of(trial), trial.row.signature.dims
    given = dict(trial.case.call.arguments)
    given.pop("norm_type")
    kernel = numbers(trial, "kernel_size")
    ends = zip(
        trial.shapes[0][-dims:], numbers(trial, "stride"), kernel, x.shape[-dims:], strict=True
    )
    if any((n - 1) * s + k > m for n, s, k, m in ends):
        return
    size = math.prod(kernel)
    if math.frexp(size)[0] != 0.5:
        return  # the quotient rounds
    layer = trial.row.name.replace("LP", "Avg").replace("lp_", "avg_")
    average = called(trial, x, layer=layer, arguments=given)
    yield same(average, called(trial, x, norm_type=1), got_moves=lambda y: y * size)


@law("signs", "an even p, and ∞, know no signs", MOVED)
def signs(trial: Trial, generator: Generator) -> Claims:
    """The call on |x|."""
    if _norm(trial) % 2 == 0 or _norm(trial) == math.inf:
        yield same(called(trial, np.abs(input_of(trial))), trial)


@law("scaled", "the norm of c·x is c times the norm of x, c > 0 a power of two", MOVED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, where no power is near the ends of the range."""
    x, factor = input_of(trial), float(generator.choice([0.5, 2.0]))
    p = 1.0 if _norm(trial) == math.inf else max(_norm(trial), 1.0)
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(x[x != 0]) ** p
    if sizes.size and not form.normal * 2.0**8 < sizes.min() <= sizes.max() < form.largest / 2**12:
        return
    there = round_to(x * factor, trial.case.call.dtype)
    other = called(trial, there)
    # The root of 1 is exact, the root of another number is not.
    found = tuple(y.map(lambda array: array / factor) for y in measured(other))
    yield claim(other, found, Side(trial.text(), measured(trial), trial))


@law("lifted", "a dimension more, of length 1, changes nothing", MOVED)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    x, dims = input_of(trial), trial.row.signature.dims
    at = int(generator.integers(2)) * dims
    given = dict(trial.case.call.arguments)
    for name in ("kernel_size", "stride"):
        each = list(numbers(trial, name))
        each.insert(at, 1)
        given[name] = tuple(each)
    axis = leading(trial) + at
    layer = trial.row.name.replace(f"{dims}d", f"{dims + 1}d")
    other = called(trial, np.expand_dims(x, axis), layer=layer, arguments=given)
    yield same(other, trial, got_moves=lambda y: np.squeeze(y, axis))


SHARED = tuple(map(moved, (planes, singles, function, stride)))
LAWS = (*SHARED, largest, sum_of, signs, scaled, lifted)
