"""Cases of pooling by maximum: modules and functions."""

from __future__ import annotations

import math

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.windows import (
    DEFAULTS,
    draw_leading,
    draw_windows,
    profiles,
    window_arguments,
    yes_no,
)
from conformance.strategies.values import REGIMES, Filler, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import format_of

# The simplest first. apart: no two elements of a plane are equal, so that one is the largest;
# whole: int64; endless: mostly −∞, some NaN.
regimes_of_floats = st.sampled_from((*REGIMES, "apart", "apart", "endless"))
regimes = st.sampled_from((*REGIMES, "apart", "apart", "whole", "whole", "endless"))
_DISTINCT = 10  # bits, that is at most 1 024 numbers between two powers of two


def _integers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Integers: with many equal ones, all negative, or too large for any floating-point format."""
    generator = np.random.default_rng(seed)
    low, high = ((-2, 2), (-3, -1), (-(2**62), 2**62))[generator.integers(3)]
    return np.asarray(generator.integers(low, high, shape, endpoint=True))


def _mostly_infinite(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers that are mostly −∞; every other case has NaN."""
    generator = np.random.default_rng(seed)
    shares = (0.7, 0.15, 0.15) if generator.integers(2) else (0.7, 0.0, 0.3)
    kinds = generator.choice(3, shape, p=shares)
    finite = generator.integers(-2, 2, shape, endpoint=True).astype(float)
    return np.choose(kinds, [np.full(shape, -np.inf), np.full(shape, np.nan), finite])


def _distinct_numbers(shape: tuple[int, ...], planes: int, seed: int, dtype: str) -> np.ndarray:
    """Distinct numbers in each plane, all of one sign.

    float16 has 16 × 1 024 numbers from 1 on, bfloat16 128 × 128; larger planes repeat some.
    """
    distinct = 2 ** min(format_of(dtype).bits - 1, _DISTINCT)
    generator = np.random.default_rng(seed)
    size = math.prod(shape) // max(planes, 1)
    orders = [generator.permutation(size) for _ in range(planes)]
    order = np.array(orders, int).reshape(planes, size)
    powers = order // distinct % (int(np.log2(format_of(dtype).largest)) + 1)
    numbers = np.ldexp(1.0 + order % distinct / distinct, powers)
    return np.asarray(numbers * generator.choice([-1.0, 1.0], (planes, 1))).reshape(shape)


@composite
def max_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of pooling by maximum.

    Args:
        layer: `"MaxPool2d"`, `"functional.max_pool3d"`, …
        dims: number of spatial dimensions.
    """
    profile = draw(profiles)
    windows_drawn = draw_windows(draw, profile, dims)
    indices, leading_shape = draw(yes_no), draw_leading(draw, profile)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)

    options = window_arguments(writer, windows_drawn, "stride", "padding", "dilation", "ceil_mode")
    options["return_indices"] = indices
    required = {"kernel_size": writer.size_argument([w.kernel for w in windows_drawn])}
    optional = writer.explicit_arguments(options, {**DEFAULTS, "return_indices": False})
    x = elements((*leading_shape, *(w.length for w in windows_drawn)), dims, regime, dtype, seed)
    call = Call(layer, required | optional, {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)


def elements(shape: tuple[int, ...], dims: int, regime: str, dtype: str, seed: int) -> np.ndarray:
    """Fill an array for maxima over its last `dims` axes; `regime` is one of `regimes`."""
    if regime == "apart":
        return _distinct_numbers(shape, math.prod(shape[:-dims]), seed, dtype)
    if regime == "whole":
        return _integers(shape, seed)
    if regime == "endless":
        return _mostly_infinite(shape, seed)
    return Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
