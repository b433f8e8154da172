"""Cases of the gated linear unit: any axis may be the halved one, which has an even length."""

from __future__ import annotations

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# plain: one regime for all numbers; gates: the second half where a sigmoid bends or saturates.
profiles = st.sampled_from(("plain", "plain", "gates"))
_RANKS = st.sampled_from((1, 2, 3, 4))
# Half the axis's length: up to one vector register, several, and a tail.
_HALVES = st.sampled_from((1, 2, 3, 4, 8, 17, 33, 67))
_LENGTHS = st.sampled_from((1, 2, 3, 4, 5))
_EMPTY = st.integers(0, 11)
_GATES = (0.0, 1.0, 4.0, 16.0, 40.0, 90.0, 110.0, 710.0, 750.0)
yes_no = st.booleans()


@composite
def glus(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of GLU.

    Args:
        layer: `"GLU"` or `"functional.glu"`.
    """
    profile, rank, half = draw(profiles), draw(_RANKS), draw(_HALVES)
    axis = rank - 1 if not draw(yes_no) else draw(st.integers(0, rank - 1))
    shape = [draw(_LENGTHS) for _ in range(rank)]
    shape[axis] = 2 * half
    if draw(_EMPTY) == 11:
        shape[draw(st.integers(0, rank - 1))] = 0
    # Otherwise counted from the end, as the default is.
    dim = axis if draw(yes_no) else axis - rank
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    x = Filler(regime, dtype, seed, 1, factors=2).operand(*shape)
    if profile == "gates":
        generator = np.random.default_rng(seed)
        size = generator.choice(_GATES, shape) + generator.standard_normal(shape)
        gates = round_to(np.asarray(size * generator.choice([-1.0, 1.0], shape)), dtype)
        second = np.arange(shape[axis]) >= shape[axis] // 2
        x = np.where(second.reshape(-1, *(1 for _ in shape[axis + 1 :])), gates, x)
    arguments = writer.explicit_arguments({"dim": dim}, {"dim": -1})
    labels = {"profile": profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
