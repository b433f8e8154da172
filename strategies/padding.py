"""Cases of padding: modules and `pad`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import REAL_DTYPE, format_of

MODES = ("constant", "reflect", "replicate", "circular")
# even: one number for all sides; uneven: a number for each; most: as much as the input's length
# allows; cropped: some numbers are negative; long: a last dimension longer than a vector register,
# and much padding.
profiles = st.sampled_from(("even", "uneven", "uneven", "most", "cropped", "cropped", "long"))
_FEW = st.sampled_from((0, 1, 2, 3))
_MANY = st.sampled_from((17, 33, 8, 1))
_LITTLE = st.sampled_from((0, 1))
_NO_EXTRAS = st.just(0)
_CROPS = st.sampled_from((0, 1, 2, -1, -2, 3))
# Added to the shortest valid length. With 0 reflect and circular have their largest padding.
_EXTRAS = st.sampled_from((0, 1, 2, 3))
_LONG_EXTRAS = st.sampled_from((0, 17, 33, 40))
_CHANNELS = st.sampled_from((1, 2, 3, 17))
_FEW_CHANNELS = st.sampled_from((1, 2, 3))
_BATCHES = st.sampled_from((None, 1, 2, 3, 0))
_DIMS = st.sampled_from((1, 2, 3))
_LEADING = st.sampled_from((1, 2, 3))
_SELDOM = st.sampled_from((False, False, False, True))
yes_no = st.booleans()
_VALUES = st.sampled_from(
    (0.0, 3.5, -1.0, 2, 0.1, -0.0, math.inf, -math.inf, math.nan, 1e-3, "largest")
)
_INTEGER_VALUES = st.sampled_from((0, 1, -7, 3, 2**52))


def min_length(mode: str, before: int, after: int) -> int:
    """The shortest length that a mode can pad by `before` and `after`; negative numbers crop."""
    cropped, largest = max(-before, 0) + max(-after, 0), max(before, after, 0)
    if mode == "circular":
        return cropped + max(largest, 1)
    return max(cropped + 1, largest + 1 if mode == "reflect" else 1)


def can_pad(mode: str, lengths: Sequence[int], sides: Sequence[tuple[int, int]]) -> bool:
    """Whether the padded dimensions are long enough; `sides` is (before, after) of each."""
    pairs = zip(lengths, sides, strict=True)
    return all(length >= min_length(mode, *side) for length, side in pairs)


def _sides(draw: Draw, profile: str, dims: int) -> list[tuple[int, int]]:
    """Draw (before, after) of each dimension, in the order of the input's axes."""
    if not dims:
        return []
    if profile == "even":
        return [(draw(_FEW),) * 2] * dims
    if profile == "long":
        short_sides = [(draw(_LITTLE), draw(_LITTLE)) for _ in range(dims - 1)]
        return [*short_sides, (draw(_MANY), draw(_MANY))]
    numbers = _CROPS if profile == "cropped" else _FEW
    return [(draw(numbers), draw(numbers)) for _ in range(dims)]


def _lengths(draw: Draw, profile: str, mode: str, sides: Sequence[tuple[int, int]]) -> list[int]:
    extras = _NO_EXTRAS if profile in ("most", "long") else _EXTRAS
    lengths = [min_length(mode, *side) + draw(extras) for side in sides]
    if profile == "long" and lengths:
        lengths[-1] += draw(_LONG_EXTRAS)
    return lengths


def _channel_counts(profile: str, dims: int) -> st.SearchStrategy[int]:
    """Numbers of channels: few where each channel is large."""
    return _FEW_CHANNELS if profile == "long" or dims == 3 else _CHANNELS


def _torch_order(sides: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The numbers in torch's order, the last dimension first."""
    return tuple(number for side in reversed(sides) for number in side)


def _value(draw: Draw, dtype: str, integer: bool) -> float | int:
    """Draw the constant to pad with, in the range of the dtype."""
    if integer:
        return int(draw(_INTEGER_VALUES))
    value: Any = draw(_VALUES)
    return format_of(REAL_DTYPE.get(dtype, dtype)).largest if value == "largest" else value


def _input(regime: str, seed: int, dtype: str, shape: Sequence[int], integer: bool) -> np.ndarray:
    if integer:
        return np.asarray(np.random.default_rng(seed).integers(-(2**62), 2**62, tuple(shape)))
    return Filler(regime, dtype, seed, 1, factors=1).operand(*shape)


@composite
def module_pads(
    draw: Draw, layer: str, mode: str, dims: int, takes_value: bool, dtype: str
) -> Case:
    """Cases of a module.

    Args:
        mode: its padding mode.
        dims: number of spatial dimensions.
        takes_value: the module has the argument `value`.
    """
    profile, integer = draw(profiles), draw(_SELDOM)
    sides = _sides(draw, profile, dims)
    lengths = _lengths(draw, profile, mode, sides)
    batch, channels = draw(_BATCHES), draw(_channel_counts(profile, dims))
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    arguments: dict[str, Any] = {"padding": writer.size_argument(_torch_order(sides))}
    if takes_value:
        arguments["value"] = _value(draw, dtype, integer)
    shape = (*(() if batch is None else (batch,)), channels, *lengths)
    x = _input(regime, seed, dtype, shape, integer)
    labels = {"profile": "integer" if integer else profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def pads(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `functional.pad`: with a constant any number of axes, else one to three."""
    mode, profile, integer = draw(st.sampled_from(MODES)), draw(profiles), draw(_SELDOM)
    dims = draw(_DIMS)
    if mode == "constant":
        leading = [draw(_LEADING) for _ in range(draw(st.integers(0, 3)))]
        dims = min(dims + draw(_SELDOM) - draw(_SELDOM), 5 - len(leading))
    else:
        batch = draw(_BATCHES)
        leading = [*(() if batch is None else (batch,)), draw(_channel_counts(profile, dims))]
    dims = max(dims, 0 if leading and mode == "constant" else 1)
    sides = _sides(draw, profile, dims)
    lengths = _lengths(draw, profile, mode, sides)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    values: dict[str, Any] = {"mode": mode, "value": None}
    if mode == "constant" and draw(yes_no):
        values["value"] = _value(draw, dtype, integer)
    numbers = _torch_order(sides)
    required = {"pad": list(numbers) if writer.next_bit() else numbers}
    arguments = required | writer.explicit_arguments(values, {"mode": "constant", "value": None})
    shape = (*leading, *lengths)
    x = _input(regime, seed, dtype, shape, integer)
    labels = {"profile": "integer" if integer else profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
