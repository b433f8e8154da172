"""Laws of PixelShuffle, PixelUnshuffle and their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.linear import EXACT
from conformance.spec.law import Claims, Generator, called, input_of, law, many, same

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


def _shuffles(trial: Trial) -> bool:
    """Whether channels become pixels: PixelShuffle, not PixelUnshuffle."""
    return trial.row.name in ("PixelShuffle", _FUNCTIONS["PixelShuffle"])


@law("planes", "each image of a large batch is that image of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 images drawn from the case's, with one leading axis."""
    x = input_of(trial)
    if not 0 < x.size <= 1 << 13:
        return
    images = x.reshape(-1, *x.shape[-3:])
    chosen = generator.integers(len(images), size=many(generator))
    large = called(trial, images[chosen])
    shape = trial.shapes[0]
    assert shape is not None
    yield same(large, trial, wanted_moves=lambda y: y.reshape(-1, *shape[-3:])[chosen])


@law("form", "the module is the function", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    name = trial.row.name
    other = _FUNCTIONS.get(name) or _MODULES[name]
    yield same(called(trial, input_of(trial), layer=other), trial)


@law("undone", "shuffled and unshuffled, or the other way, is the input", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """The inverse layer with the same factor, in the same form; not for empty input."""
    name, x = trial.row.name, input_of(trial)
    if not x.size:
        return
    wanted = "PixelUnshuffle" if _shuffles(trial) else "PixelShuffle"
    given: dict[str, Any] = {_FACTORS[wanted]: _factor(trial)}
    layer = _FUNCTIONS[wanted] if name in _MODULES else wanted
    back = called(trial, trial.answer[0], layer=layer, arguments=given)
    (own,) = trial.case.call.arguments
    yield same(back, called(trial, x, arguments={own: 1}))


@law("columns", "columns mean nothing: each is shuffled by itself", EXACT)
def columns(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 columns drawn from the case's; to unshuffle, each as wide as the factor."""
    x, factor = input_of(trial), _factor(trial)
    if x.size > 1 << 13 or not x.shape[-1]:
        return
    into, out = (1, factor) if _shuffles(trial) else (factor, 1)
    chosen = generator.integers(x.shape[-1] // into, size=many(generator))

    def drawn(array: np.ndarray, width: int) -> np.ndarray:
        places = (chosen[:, np.newaxis] * width + np.arange(width)).reshape(-1)
        return array[..., places]

    other = called(trial, drawn(x, into))
    yield same(other, trial, wanted_moves=lambda y: drawn(y, out))


@law("transposed", "rows for columns, in the image and among the channels of a pixel", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """Height and width exchanged, and the r by r channels of a pixel transposed."""
    x, factor = input_of(trial), _factor(trial)

    def pixels(array: np.ndarray) -> np.ndarray:
        return array.swapaxes(-1, -2)

    def channels(array: np.ndarray) -> np.ndarray:
        *leading, depth, high, wide = array.shape
        apart = array.reshape(*leading, depth // factor**2, factor, factor, high, wide)
        turned = apart.swapaxes(-3, -4).swapaxes(-1, -2)
        return turned.reshape(*leading, depth, wide, high)

    before, after = (channels, pixels) if _shuffles(trial) else (pixels, channels)
    other = called(trial, np.ascontiguousarray(before(x)))
    yield same(other, trial, wanted_moves=after)


LAWS = (planes, form, undone, columns, transposed)
