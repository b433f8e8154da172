"""Laws of PixelShuffle, PixelUnshuffle and their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.linear import EXACT
from conformance.spec.law import (
    Claims,
    Generator,
    equality_claim,
    get_input,
    large_size,
    law,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_FACTORS = {"PixelShuffle": "upscale_factor", "PixelUnshuffle": "downscale_factor"}
_FUNCTIONS = {
    "PixelShuffle": "functional.pixel_shuffle",
    "PixelUnshuffle": "functional.pixel_unshuffle",
}
_MODULES = {function: module for module, function in _FUNCTIONS.items()}


def _factor(trial: Trial) -> int:
    (factor,) = trial.case.call.arguments.values()
    return int(factor)


def _is_shuffle(trial: Trial) -> bool:
    """Whether channels become pixels: PixelShuffle, not PixelUnshuffle."""
    return trial.spec.name in ("PixelShuffle", _FUNCTIONS["PixelShuffle"])


@law("planes", "each image of a large batch is that image of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 images drawn from the case's, with one leading axis."""
    x = get_input(trial)
    if not 0 < x.size <= 1 << 13:
        return
    images = x.reshape(-1, *x.shape[-3:])
    chosen = generator.integers(len(images), size=large_size(generator))
    large = trial_with(trial, images[chosen])
    shape = trial.shapes[0]
    assert shape is not None
    yield equality_claim(large, trial, wanted_moves=lambda y: y.reshape(-1, *shape[-3:])[chosen])


@law("form", "the module is the function", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    name = trial.spec.name
    other = _FUNCTIONS.get(name) or _MODULES[name]
    yield equality_claim(trial_with(trial, get_input(trial), layer=other), trial)


@law("undone", "shuffled and unshuffled, or the other way, is the input", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """The inverse layer with the same factor, in the same form; not for empty input."""
    name, x = trial.spec.name, get_input(trial)
    if not x.size:
        return
    inverse = "PixelUnshuffle" if _is_shuffle(trial) else "PixelShuffle"
    arguments: dict[str, Any] = {_FACTORS[inverse]: _factor(trial)}
    layer = _FUNCTIONS[inverse] if name in _MODULES else inverse
    back = trial_with(trial, trial.answer[0], layer=layer, arguments=arguments)
    (factor_name,) = trial.case.call.arguments
    yield equality_claim(back, trial_with(trial, x, arguments={factor_name: 1}))


@law("columns", "columns mean nothing: each is shuffled by itself", EXACT)
def columns(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 columns drawn from the case's; to unshuffle, each as wide as the factor."""
    x, factor = get_input(trial), _factor(trial)
    if x.size > 1 << 13 or not x.shape[-1]:
        return
    input_width, output_width = (1, factor) if _is_shuffle(trial) else (factor, 1)
    chosen = generator.integers(x.shape[-1] // input_width, size=large_size(generator))

    def select_columns(array: np.ndarray, width: int) -> np.ndarray:
        places = (chosen[:, np.newaxis] * width + np.arange(width)).reshape(-1)
        return array[..., places]

    other = trial_with(trial, select_columns(x, input_width))
    yield equality_claim(other, trial, wanted_moves=lambda y: select_columns(y, output_width))


@law("transposed", "rows for columns, in the image and among the channels of a pixel", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """Height and width exchanged, and the r by r channels of a pixel transposed."""
    x, factor = get_input(trial), _factor(trial)

    def pixels(array: np.ndarray) -> np.ndarray:
        return array.swapaxes(-1, -2)

    def channels(array: np.ndarray) -> np.ndarray:
        *leading, depth, height, width = array.shape
        split = array.reshape(*leading, depth // factor**2, factor, factor, height, width)
        swapped = split.swapaxes(-3, -4).swapaxes(-1, -2)
        return swapped.reshape(*leading, depth, width, height)

    move_input, move_output = (channels, pixels) if _is_shuffle(trial) else (pixels, channels)
    other = trial_with(trial, np.ascontiguousarray(move_input(x)))
    yield equality_claim(other, trial, wanted_moves=move_output)


LAWS = (planes, form, undone, columns, transposed)
