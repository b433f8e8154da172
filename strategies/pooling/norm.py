"""Cases of pooling by the p-norm: modules and functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.windows import (
    DEFAULTS,
    draw_leading,
    draw_windows,
    summing_profiles,
    window_arguments,
)
from conformance.strategies.values import SUM_REGIMES, Filler, rounding_regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# `gaps`: windows of zeros, where the root has no derivative.
regimes = st.sampled_from((*SUM_REGIMES, "ones", "gaps"))
# As int and as float: users write both.
_NORMS = st.sampled_from((2, 1, 2.0, 3, 2, math.inf, 1.0, 3.0, 4, 0.5, 1.5))


@composite
def lp_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of pooling by the p-norm.

    Numbers have either sign if p is even, 1 or ∞, and in some cases with p = 3. Fractional powers
    of negative numbers do not exist.

    Args:
        layer: `"LPPool2d"`, `"functional.lp_pool3d"`, …
        dims: number of spatial dimensions.
    """
    profile, norm = draw(summing_profiles), draw(_NORMS)
    windows_drawn = draw_windows(draw, profile, dims, has_padding=False, has_dilation=False)
    leading_shape = draw_leading(draw, profile)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(rounding_regimes if profile == "heavy" else regimes), draw(seeds)

    options: dict[str, Any] = window_arguments(writer, windows_drawn, "stride", "ceil_mode")
    kernel: Any = writer.size_argument([w.kernel for w in windows_drawn])
    if dims == 1:  # documented as one number
        kernel, stride = windows_drawn[0].kernel, options["stride"]
        options["stride"] = stride[0] if isinstance(stride, tuple) else stride
    shape = (*leading_shape, *(w.length for w in windows_drawn))
    terms = math.prod(w.kernel for w in windows_drawn)
    factors = 1 if norm == math.inf else max(math.ceil(norm), 1)
    x = np.ones(shape)
    if regime == "gaps":
        x[..., : (shape[-1] + 1) // 2] = 0.0
    elif regime != "ones":
        x = Filler(regime, dtype, seed, terms, factors=factors).operand(*shape)
    allows_negative = norm in (1, 2, 4, math.inf) or (norm == 3 and writer.next_bit())
    x = x if allows_negative else np.abs(x)
    required = {"norm_type": norm, "kernel_size": kernel}
    call = Call(layer, required | writer.explicit_arguments(options, DEFAULTS), {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
