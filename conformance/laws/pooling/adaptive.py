"""Laws of adaptive pooling, by maximum and by average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.average import moved, scaled
from conformance.laws.pooling.gradients import whole
from conformance.laws.pooling.maximum import (
    EXACT,
    function,
    indices,
    leading,
    planes,
    singles,
    values_of,
)
from conformance.laws.pooling.maximum import scaled as scaled_maximum
from conformance.spec.law import (
    MOVED,
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


def _first(trial: Trial) -> dict[str, Any]:
    """return_indices=False, if the layer has that argument."""
    return {"return_indices": False} if trial.row.signature.argument("return_indices") else {}


@law("windows", "where it divides the input it is pooling by windows that lie side by side", MOVED)
def windows(trial: Trial, generator: Generator) -> Claims:
    """Ordinary pooling with kernel and stride of input ÷ output size, indices included."""
    dims = trial.row.signature.dims
    inputs, outputs = (shape[-dims:] for shape in (input_of(trial).shape, trial.shapes[0]))
    if not all(outputs) or any(n % o for n, o in zip(inputs, outputs, strict=True)):
        return
    kernel = tuple(n // o for n, o in zip(inputs, outputs, strict=True))
    given = {k: v for k, v in trial.case.call.arguments.items() if k != "output_size"}
    layer = trial.row.name.replace("Adaptive", "").replace("adaptive_", "")
    given["kernel_size"] = kernel
    yield same(called(trial, input_of(trial), layer=layer, arguments=given), trial)


@law("mirrored", "mirroring the planes mirrors the regions", MOVED)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions or one flipped; compares values only, since indices change."""
    dims = trial.row.signature.dims
    back = tuple(range(-dims, 0)) if generator.integers(2) else (int(generator.integers(-dims, 0)),)
    other = called(trial, np.flip(input_of(trial), back).copy(), **_first(trial))
    yield values_of(other, np.flip(other.answer[0], back), trial)


@law("lifted", "a dimension more, of length 1, changes nothing", MOVED)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    dims, at = trial.row.signature.dims, int(generator.integers(2)) * trial.row.signature.dims
    sizes = list(trial.shapes[0][-dims:])
    sizes.insert(at, 1)
    axis = leading(trial) + at
    layer = trial.row.name.replace(f"{dims}d", f"{dims + 1}d")
    given = {**trial.case.call.arguments, "output_size": tuple(sizes)}
    other = called(trial, np.expand_dims(input_of(trial), axis), layer=layer, arguments=given)
    yield same(other, trial, got_moves=lambda y: np.squeeze(y, axis))


@law("apart", "a region is the largest of its rows' largest", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    dims, y = trial.row.signature.dims, input_of(trial)
    sizes = trial.shapes[0][-dims:]
    calls: list[Trial] = []
    for k in generator.permutation(dims):
        kept = list(y.shape[-dims:])
        kept[k] = sizes[k]
        if not all(y.shape[-dims:]):
            return
        calls.append(called(trial, y, output_size=tuple(kept), return_indices=False))
        y = calls[-1].answer[0]
    yield values_of(calls[-1], y, trial)


@law("constant", "the average of a constant is that constant", MOVED)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with an integer."""
    number = float(generator.integers(1, 8))
    plain = called(trial, np.full(input_of(trial).shape, number))
    (got,) = measured(plain)
    wanted = Rounded(np.full(got.shape, number), np.zeros(got.shape), got.precision)
    yield claim(plain, (got,), Side(f"{number:g}", (wanted,)))


MAXIMUM = (
    *(planes, singles, function, windows, mirrored, lifted, apart, indices, scaled_maximum),
    whole,
)
AVERAGE = (
    *(moved(found) for found in (planes, singles, function)),
    *(windows, mirrored, lifted, constant, scaled),
)
