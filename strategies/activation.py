"""Cases of activations: any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# Vector code reads 8, 16 or 64 elements at a time, and a tail.
vectors = st.sampled_from(((1,), (), (2,), (3,), (67,), (129,), (0,), (257,)))
blocks = st.lists(st.integers(0, 5), min_size=2, max_size=4).map(tuple)
# around: magnitudes at which a sigmoid bends, saturates, and vanishes in each format.
profiles = st.sampled_from(("vector", "block", "around"))
slopes = st.sampled_from((0.01, 0.01, 0.5, 0.2, 0.0, 1.0, 3.0, -0.5))
yes_no = st.booleans()
_AROUND = (0.0, 1.0, 4.0, 16.0, 40.0, 90.0, 110.0, 710.0, 750.0)


@st.composite
def activations(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of an elementwise function.

    Args:
        layer: the name of its row.
        dtype: torch's name of the dtype.
    """
    profile = draw(profiles)
    shape = draw(blocks if profile == "block" else vectors)
    values: dict[str, Any] = {}
    if layer in ("LeakyReLU", "functional.leaky_relu"):
        values["negative_slope"] = draw(slopes)
    # torch differentiates in place from the result, and refuses that of a negative slope.
    values["inplace"] = draw(yes_no) and values.get("negative_slope", 0.0) >= 0
    defaults = {"negative_slope": 0.01, "inplace": False}
    arguments = Written(draw(masks)).optional(values, defaults)
    regime, seed = draw(regimes), draw(seeds)
    if profile == "around":
        generator = np.random.default_rng(seed)
        size = generator.choice(_AROUND, shape) + generator.standard_normal(shape)
        x = round_to(np.asarray(size * generator.choice([-1.0, 1.0], shape)), dtype)
    else:
        x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    labels = {"profile": profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
