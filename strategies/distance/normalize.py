"""Cases of normalize, which divides vectors by their norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.distance.vectors import counts, lengths
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# nothing: about half of the vectors are 0; long: squares of their components may overflow.
profiles = st.sampled_from(("plain", "plain", "nothing", "long"))
orders = st.sampled_from((2.0, 2.0, 1.0, math.inf, 3.0, 0.5, 1.5, 0.0))
_EPS = st.sampled_from((1e-12, 1e-12, 1e-12, 0.5, 1e-3, 10.0, 0.0))
_RANKS = st.sampled_from((2, 2, 3, 1, 4))
yes_no = st.booleans()


@composite
def normalizations(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of normalize."""
    rank, length, profile, p = draw(_RANKS), draw(lengths), draw(profiles), draw(orders)
    first = 1 if rank > 1 and not draw(yes_no) else draw(st.integers(0, rank - 1))
    has_several_axes = rank > 1 and draw(st.integers(0, 3)) == 3
    axes = [first]
    if has_several_axes:
        axes = draw(st.permutations(range(rank)))[: draw(st.integers(1, rank))]
    shape = [draw(counts) for _ in range(rank)]
    shape[axes[0]] = length
    if p == math.inf:  # an empty vector has no largest component
        shape = [max(size, 1) for size in shape]
    dims = [axis - rank if draw(yes_no) and axis != 1 else axis for axis in axes]
    dim: Any = tuple(dims) if has_several_axes else dims[0]
    eps = draw(_EPS)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = max(math.prod(shape[axis] for axis in axes), 1)
    filler = Filler(regime, dtype, seed, terms, factors=1 if profile == "long" else 2)
    x = filler.operand(*shape)
    if profile == "nothing" and x.size:
        vectors = [1 if axis in axes else size for axis, size in enumerate(shape)]
        is_zero = filler.generator.integers(0, 2, vectors) == 1
        is_zero.reshape(-1)[:1] = True
        x = np.where(is_zero, 0.0, x)
    arguments = writer.explicit_arguments(
        {"p": p, "dim": dim, "eps": eps}, {"p": 2.0, "dim": 1, "eps": 1e-12}
    )
    labels = {"profile": profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
