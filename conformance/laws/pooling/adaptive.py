"""Laws of adaptive pooling, by maximum and by average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.average import as_sum_law, scaled
from conformance.laws.pooling.gradients import whole
from conformance.laws.pooling.maximum import (
    EXACT,
    claim_values,
    function,
    indices_law,
    leading_axes,
    planes,
    singles,
)
from conformance.laws.pooling.maximum import scaled as scaled_maximum
from conformance.spec.law import (
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


def _without_indices(trial: Trial) -> dict[str, Any]:
    """return_indices=False, if the layer has that argument."""
    return {"return_indices": False} if trial.spec.signature.argument("return_indices") else {}


@law(
    "windows",
    "where it divides the input it is pooling by windows that lie side by side",
    WITHIN_TWICE_BOUND,
)
def windows(trial: Trial, generator: Generator) -> Claims:
    """Ordinary pooling with kernel and stride of input ÷ output size, indices included."""
    dims = trial.spec.signature.dims
    inputs, outputs = (shape[-dims:] for shape in (get_input(trial).shape, trial.shapes[0]))
    if not all(outputs) or any(n % o for n, o in zip(inputs, outputs, strict=True)):
        return
    kernel = tuple(n // o for n, o in zip(inputs, outputs, strict=True))
    arguments = {k: v for k, v in trial.case.call.arguments.items() if k != "output_size"}
    layer = trial.spec.name.replace("Adaptive", "").replace("adaptive_", "")
    arguments["kernel_size"] = kernel
    yield equality_claim(
        trial_with(trial, get_input(trial), layer=layer, arguments=arguments), trial
    )


@law("mirrored", "mirroring the planes mirrors the regions", WITHIN_TWICE_BOUND)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions or one flipped; compares values only, since indices change."""
    dims = trial.spec.signature.dims
    mirrored_axes = (
        tuple(range(-dims, 0)) if generator.integers(2) else (int(generator.integers(-dims, 0)),)
    )
    other = trial_with(
        trial, np.flip(get_input(trial), mirrored_axes).copy(), **_without_indices(trial)
    )
    yield claim_values(other, np.flip(other.answer[0], mirrored_axes), trial)


@law("lifted", "a dimension more, of length 1, changes nothing", WITHIN_TWICE_BOUND)
def lifted(trial: Trial, generator: Generator) -> Claims:
    """A case of one or two dimensions with one more, first or last."""
    dims, new_dimension = (
        trial.spec.signature.dims,
        int(generator.integers(2)) * trial.spec.signature.dims,
    )
    sizes = list(trial.shapes[0][-dims:])
    sizes.insert(new_dimension, 1)
    axis = leading_axes(trial) + new_dimension
    layer = trial.spec.name.replace(f"{dims}d", f"{dims + 1}d")
    arguments = {**trial.case.call.arguments, "output_size": tuple(sizes)}
    other = trial_with(
        trial, np.expand_dims(get_input(trial), axis), layer=layer, arguments=arguments
    )
    yield equality_claim(other, trial, got_moves=lambda y: np.squeeze(y, axis))


@law("apart", "a region is the largest of its rows' largest", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    dims, y = trial.spec.signature.dims, get_input(trial)
    sizes = trial.shapes[0][-dims:]
    calls: list[Trial] = []
    for k in generator.permutation(dims):
        partial_size = list(y.shape[-dims:])
        partial_size[k] = sizes[k]
        if not all(y.shape[-dims:]):
            return
        calls.append(trial_with(trial, y, output_size=tuple(partial_size), return_indices=False))
        y = calls[-1].answer[0]
    yield claim_values(calls[-1], y, trial)


@law("constant", "the average of a constant is that constant", WITHIN_TWICE_BOUND)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with an integer."""
    number = float(generator.integers(1, 8))
    constant_call = trial_with(trial, np.full(get_input(trial).shape, number))
    (got,) = outputs_with_bounds(constant_call)
    wanted = Rounded(np.full(got.shape, number), np.zeros(got.shape), got.precision)
    yield claim(constant_call, (got,), Side(f"{number:g}", (wanted,)))


MAXIMUM = (
    *(planes, singles, function, windows, mirrored, lifted, apart, indices_law, scaled_maximum),
    whole,
)
AVERAGE = (
    *(as_sum_law(copying_law) for copying_law in (planes, singles, function)),
    *(windows, mirrored, lifted, constant, scaled),
)
