"""Cases of pooling by the p-norm: modules and functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.windows import DEFAULTS, leading, profiles, sizes, windows
from conformance.strategies.values import REGIMES, Filler, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# `gaps`: windows of zeros, where the root has no derivative.
regimes = st.sampled_from((*REGIMES, "ones", "gaps"))
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
    profile, norm = draw(profiles), draw(_NORMS)
    found = windows(draw, profile, dims, padded=False, dilated=False)
    before = leading(draw, profile)
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)

    options: dict[str, Any] = sizes(written, found, "stride", "ceil_mode")
    kernel: Any = written.size([w.kernel for w in found])
    if dims == 1:  # documented as one number
        kernel, stride = found[0].kernel, options["stride"]
        options["stride"] = stride[0] if isinstance(stride, tuple) else stride
    shape = (*before, *(w.length for w in found))
    terms = math.prod(w.kernel for w in found)
    factors = 1 if norm == math.inf else max(math.ceil(norm), 1)
    x = np.ones(shape)
    if regime == "gaps":
        x[..., : (shape[-1] + 1) // 2] = 0.0
    elif regime != "ones":
        x = Filler(regime, dtype, seed, terms, factors=factors).operand(*shape)
    either = norm in (1, 2, 4, math.inf) or (norm == 3 and written.bit())
    x = x if either else np.abs(x)
    required = {"norm_type": norm, "kernel_size": kernel}
    call = Call(layer, required | written.optional(options, DEFAULTS), {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
