"""Laws of pooling by average."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.maximum import function, leading, numbers, planes, singles, stride
from conformance.model.formats import format_of, round_to
from conformance.spec.law import (
    MOVED,
    Claims,
    Generator,
    Law,
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


def _divided(trial: Trial) -> dict[str, Any]:
    """divisor_override=None, if the layer has that argument."""
    return {"divisor_override": None} if trial.row.signature.argument("divisor_override") else {}


@law("constant", "the average of a constant is that constant, where padding does not count", MOVED)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with an integer, without counting padding."""
    x = input_of(trial)
    number = float(generator.integers(1, 8))
    plain = called(trial, np.full(x.shape, number), count_include_pad=False, **_divided(trial))
    (got,) = measured(plain)
    wanted = Rounded(np.full(got.shape, number), np.zeros(got.shape), got.precision)
    yield claim(plain, (got,), Side(f"{number:g}", (wanted,)))


@law("padding", "padding that counts is zeros around the input", MOVED)
def padding(trial: Trial, generator: Generator) -> Claims:
    """The call without padding on an input padded by NumPy, where padding counts."""
    pads = numbers(trial, "padding")
    counts = trial.case.call.arguments.get("count_include_pad", True)
    given = trial.case.call.arguments.get("divisor_override") is not None
    if not any(pads) or not (counts or given):
        return
    around = [*((0, 0),) * leading(trial), *((p, p) for p in pads)]
    wide = np.pad(input_of(trial), around)
    dims = trial.row.signature.dims
    by_hand = called(trial, wide, padding=0)
    # Without padding argument a window may start in the padded region.
    kept: tuple[Any, ...] = tuple(slice(n) for n in trial.shapes[0][-dims:])
    yield same(by_hand, trial, got_moves=lambda y: y[(..., *kept)])


@law("mirrored", "mirroring the planes mirrors the windows, where they fill them", MOVED)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions flipped."""
    x, dims = input_of(trial), trial.row.signature.dims
    names = ("kernel_size", "stride", "padding")
    rows = zip(
        x.shape[-dims:], trial.shapes[0][-dims:], *(numbers(trial, n) for n in names), strict=True
    )
    if any((n - 1) * s + k != m + 2 * p for m, n, k, s, p in rows):
        return
    back = tuple(range(-dims, 0))
    other = called(trial, np.flip(x, back).copy())
    yield same(other, trial, got_moves=lambda y: np.flip(y, back))


@law("scaled", "the average of c·x is c times the average of x, c a power of two", MOVED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two of either sign."""
    x, factor = input_of(trial), float(generator.choice([-1.0, 0.5, 2.0, -8.0]))
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(np.concatenate([x[x != 0], trial.expected[0].value.reshape(-1)]))
    sizes = sizes[sizes > 0]
    # Near the ends of the range scaling is inexact.
    if sizes.size and not form.normal * 2.0**12 < sizes.min() <= sizes.max() < form.largest / 2**12:
        return
    there = round_to(x * factor, trial.case.call.dtype)
    yield same(called(trial, there), trial, got_moves=lambda y: y / factor)


@law("lifted", "a dimension more, of length 1, changes nothing", MOVED)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    x, dims = input_of(trial), trial.row.signature.dims
    at = int(generator.integers(2)) * dims
    given = dict(trial.case.call.arguments)
    for name, plain in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        each = list(numbers(trial, name))
        each.insert(at, plain)
        given[name] = tuple(each)
    axis = leading(trial) + at
    layer = trial.row.name.replace(f"{dims}d", f"{dims + 1}d")
    other = called(trial, np.expand_dims(x, axis), layer=layer, arguments=given)
    yield same(other, trial, got_moves=lambda y: np.squeeze(y, axis))


def moved(found: Law) -> Law:
    """A law of pooling by maximum, for sums: they may round."""
    return replace(found, exact=MOVED)


SHARED = tuple(map(moved, (planes, singles, function, stride)))
LAWS = (*SHARED, constant, padding, mirrored, scaled, lifted)
