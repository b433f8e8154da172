"""Laws of Unfold and Fold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.batches import each_alone
from conformance.laws.linear import EXACT
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
)
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_FORMS = {"Unfold": "functional.unfold", "Fold": "functional.fold"}
_COUNTERPARTS = {**_FORMS, **{function: module for module, function in _FORMS.items()}}
_SIZES = ("kernel_size", "dilation", "padding", "stride")


def _per_dimension_arguments(trial: Trial, *names: str) -> dict[str, tuple[int, ...]]:
    """The named arguments, or all, with one number for each dimension."""
    all_arguments = {**trial.spec.signature.defaults, **trial.case.call.arguments}
    return {name: per_dimension(all_arguments[name], 2) for name in names or all_arguments}


def _is_fold(trial: Trial) -> bool:
    return "output_size" in trial.case.call.arguments


def _taps_per_block(trial: Trial) -> int:
    """Number of positions in a block."""
    return math.prod(_per_dimension_arguments(trial, "kernel_size")["kernel_size"])


def _by_channel(trial: Trial, array: np.ndarray, columns: bool) -> np.ndarray:
    """Make the channels the third axis from the end.

    Args:
        array: an image, or columns.
        columns: whether it holds columns.
    """
    if not columns:
        return array
    *batch, depth, total = array.shape
    return array.reshape(*batch, depth // _taps_per_block(trial), _taps_per_block(trial), total)


@law("rows", "each plane of an image with many channels is that plane of another", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, is_fold = get_input(trial), _is_fold(trial)
    if x.size > 1 << 13:
        return
    by_channel = _by_channel(trial, x, is_fold)
    chosen = generator.integers(by_channel.shape[-3], size=large_size(generator))
    taps = 1 if not is_fold else _taps_per_block(trial)
    selected_input = by_channel.take(chosen, -3)
    if is_fold:
        selected_input = selected_input.reshape(
            *selected_input.shape[:-3], len(chosen) * taps, selected_input.shape[-1]
        )

    def select_planes(y: np.ndarray) -> np.ndarray:
        selected = _by_channel(trial, y, not is_fold).take(chosen, -3)
        return (
            selected if is_fold else selected.reshape(*selected.shape[:-3], -1, selected.shape[-1])
        )

    if x.size:
        yield equality_claim(trial_with(trial, selected_input), trial, wanted_moves=select_planes)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    batched = trial.spec.batch_axis(trial.case, 0) is not None
    return each_alone(trial, generator, batched=batched)


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield equality_claim(
        trial_with(trial, get_input(trial), layer=_COUNTERPARTS[trial.spec.name]), trial
    )


@law("padding", "padding is zeros around the image", EXACT)
def padding(trial: Trial, generator: Generator) -> Claims:
    """The call without padding on an image padded by NumPy; for Fold, with a cropped output."""
    x, arguments = get_input(trial), _per_dimension_arguments(trial)
    height, width = arguments["padding"]
    if not height and not width:
        return
    if _is_fold(trial):
        rows, columns = arguments["output_size"]
        arguments["output_size"] = (rows + 2 * height, columns + 2 * width)
        large = trial_with(trial, x, arguments={**arguments, "padding": 0})
        inside = (..., slice(height, height + rows), slice(width, width + columns))
        yield equality_claim(large, trial, got_moves=lambda y: y[inside])
        return
    pad_widths = [(0, 0)] * (x.ndim - 2) + [(height, height), (width, width)]
    yield equality_claim(trial_with(trial, np.pad(x, pad_widths), padding=0), trial)


@law("transposed", "rows for columns, of the image, of each block, and of the blocks", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call with both numbers of every argument exchanged, and the image transposed."""
    arguments, is_fold = _per_dimension_arguments(trial), _is_fold(trial)
    kernel_height, kernel_width = arguments["kernel_size"]
    lengths = arguments["output_size"] if is_fold else get_input(trial).shape[-2:]
    rows = zip(lengths, *(arguments[name] for name in _SIZES), strict=True)
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in rows]

    def transpose_spatial(array: np.ndarray, columns: bool) -> np.ndarray:
        if not columns:
            return np.ascontiguousarray(array.swapaxes(-1, -2))
        channels = array.shape[-2] // (kernel_height * kernel_width)
        split = array.reshape(*array.shape[:-2], channels, kernel_height, kernel_width, *counts)
        return np.ascontiguousarray(split.swapaxes(-1, -2).swapaxes(-3, -4)).reshape(array.shape)

    exchanged: dict[str, Any] = {name: value[::-1] for name, value in arguments.items()}
    other = trial_with(trial, transpose_spatial(get_input(trial), is_fold), **exchanged)
    yield equality_claim(other, trial, wanted_moves=lambda y: transpose_spatial(y, not is_fold))


@law("divisor", "Fold after Unfold counts in how many blocks each pixel is", WITHIN_SUM_OF_BOUNDS)
def divisor(trial: Trial, generator: Generator) -> Claims:
    """fold(unfold(input)) == divisor * input; the divisor counts the blocks of each pixel."""
    x = get_input(trial)
    layer = "Fold" if trial.spec.name == "Unfold" else "functional.fold"
    fold_arguments = {**trial.case.call.arguments, "output_size": x.shape[-2:]}
    back = trial_with(trial, trial.answer[0], layer=layer, arguments=fold_arguments)
    counts = np.zeros(x.shape[-2:])
    arguments = _per_dimension_arguments(trial)
    axes = []
    for n, k, d, p, s in zip(x.shape[-2:], *(arguments[name] for name in _SIZES), strict=True):
        starts = np.arange((n + 2 * p - d * (k - 1) - 1) // s + 1) * s - p
        covered = (starts[:, np.newaxis] + np.arange(k) * d).reshape(-1)
        axes.append(np.bincount(covered[(covered >= 0) & (covered < n)], minlength=n))
    counts = np.multiply.outer(*axes).astype(float)
    wide_input = in_float64(exact_operand(x, back.precision))
    product = wide_input * Rounded(
        np.broadcast_to(counts, x.shape), np.zeros(x.shape), wide_input.precision
    )
    yield claim(
        back,
        outputs_with_bounds(back),
        Side("each pixel times the number of its blocks", (product,)),
    )


@law("undone", "Unfold brings back blocks that share no pixel", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """Unfold of the output, for disjoint blocks without padding."""
    block_arguments = _per_dimension_arguments(trial)
    rows = zip(*(block_arguments[name] for name in _SIZES), strict=True)
    if any(p or s <= d * (k - 1) for k, d, p, s in rows):
        return
    layer = "Unfold" if trial.spec.name == "Fold" else "functional.unfold"
    arguments = {k: v for k, v in trial.case.call.arguments.items() if k != "output_size"}
    back = trial_with(trial, trial.answer[0], layer=layer, arguments=arguments)
    x = exact_operand(get_input(trial), trial.precision)
    yield claim(back, outputs_with_bounds(back), Side("the blocks", (x,)))


_COMMON_LAWS = (planes, singles, function, padding, transposed)
UNFOLD = (*_COMMON_LAWS, divisor)
FOLD = (*_COMMON_LAWS, undone)
