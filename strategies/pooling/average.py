"""Cases of pooling by average: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.windows import (
    DEFAULTS,
    draw_leading,
    draw_windows,
    summing_profiles,
    window_arguments,
    yes_no,
)
from conformance.strategies.values import SUM_REGIMES, Filler, rounding_regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# `ones`: their averages show the divisor, and reveal a count in half precision.
regimes = st.sampled_from((*SUM_REGIMES, "ones"))
# Negative divisors are valid: torch refuses 0 only. Powers of two divide exactly.
_DIVISORS = st.sampled_from((*(None,) * 6, 1, 1, 2, 3, 4, 7, -1, -3, 100))


def summands(shape: Sequence[int], regime: str, dtype: str, seed: int, terms: int) -> np.ndarray:
    """Fill an array whose elements are added up; a sum has at most `terms` of them."""
    if regime == "ones":
        return np.ones(tuple(shape))
    return Filler(regime, dtype, seed, terms, factors=1).operand(*shape)


@composite
def avg_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of pooling by average.

    Args:
        layer: `"AvgPool2d"`, `"functional.avg_pool3d"`, …
        dims: number of spatial dimensions.
    """
    profile = draw(summing_profiles)
    windows_drawn = draw_windows(draw, profile, dims, has_dilation=False)
    leading_shape, excludes_padding = draw_leading(draw, profile), draw(yes_no)
    divisor = draw(_DIVISORS) if dims > 1 and profile != "plain" else None
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(rounding_regimes if profile == "heavy" else regimes), draw(seeds)

    options = window_arguments(writer, windows_drawn, "stride", "padding", "ceil_mode")
    options["count_include_pad"] = not excludes_padding
    if dims > 1:
        options["divisor_override"] = divisor
    defaults = {**DEFAULTS, "count_include_pad": True, "divisor_override": None}
    required = {"kernel_size": writer.size_argument([w.kernel for w in windows_drawn])}
    shape = (*leading_shape, *(w.length for w in windows_drawn))
    x = summands(shape, regime, dtype, seed, math.prod(w.kernel for w in windows_drawn))
    call = Call(layer, required | writer.explicit_arguments(options, defaults), {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
