"""Cases of softmax and related functions: any axis of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import MARGIN, LossFiller
from conformance.strategies.loss.cross_entropy import REGIMES as OF_LOGITS
from conformance.strategies.values import Filler, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# Kernels read 8, 16, 32 or 64 numbers at a time, and a tail.
LENGTHS = (1, 2, 3, 4, 5, 8, 0, 15, 16, 17, 31, 33, 64, 65, 129)
lengths = st.sampled_from(LENGTHS)
channel_counts = st.sampled_from((2, 1, 3, 4, 5, 8, 17, 0))
other_lengths = st.sampled_from((1, 2, 3, 1, 4, 0, 2, 7, 5))
# Without 0: with many axes the array would often be empty.
nonempty_lengths = st.sampled_from((1, 2, 3, 1, 4, 2, 5))
ranks = st.sampled_from((1, 2, 3, 2, 4, 0, 3, 5))
yes_no = st.booleans()
# `large`: almost every difference over- or underflows an exponential, some overflow the format.
REGIMES = (*OF_LOGITS, "large", "mixed")
regimes = st.sampled_from(REGIMES)
# A tensor is cast before anything is computed: to more digits, to fewer, or to its own dtype.
DTYPES = ("float32", "float64", "bfloat16", "float16")
casts = st.sampled_from((None, None, None, *DTYPES))
TAUS = (1.0, 1.0, 0.5, 2.0, 0.1, 10.0)
taus = st.sampled_from(TAUS)


def logits(regime: str, dtype: str, seed: int, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Logits of a regime; saturated ones have one, two, four or more equal largest logits."""
    length = shape[axis] if shape else 1
    if not int(np.prod(shape)):
        return np.zeros(shape)
    if regime in ("large", "mixed"):
        return Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    filler = LossFiller(regime, dtype, seed)
    x = np.asarray(filler.logits(shape or (1,), axis)).reshape(shape)
    if regime == "saturated" and length > 1:
        most_doublings = int(np.log2(length)) + 1
        tied = 2 ** int(filler.generator.integers(most_doublings))
        if tied > 1:
            order = filler.generator.permuted(np.argsort(x, axis), axis=axis)
            x = np.where(x == 0, -MARGIN, x)
            np.put_along_axis(x, order.take(range(tied), axis), 0.0, axis)
    return x


@composite
def softmaxes(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of softmax, softmin and log_softmax.

    Args:
        layer: a name of the family, except Softmax2d and gumbel_softmax.
    """
    shape, axis = _draw_shape_and_axis(draw)
    # Without `dim` the axis is torch's old choice, which is deprecated.
    kind = draw(st.sampled_from(("old", "named", "from the end", "named", "from the end")))
    cast = draw(casts)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    dim: int | None = axis - max(len(shape), 1) if kind == "from the end" else axis
    if kind == "old":
        dim, axis = None, 0 if len(shape) in (0, 1, 3) else 1
    values: dict[str, Any] = {"dim": dim}
    if is_function(layer):
        values["dtype"] = cast
    arguments = writer.explicit_arguments(values, {"dim": None, "dtype": None})
    x = logits(regime, dtype, seed, shape, axis)
    labels = {"profile": kind, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def channel_softmaxes(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of softmax over the channels of images."""
    channels, space = draw(channel_counts), (draw(other_lengths), draw(other_lengths))
    batch = (draw(other_lengths),) if draw(yes_no) else ()
    regime, seed = draw(regimes), draw(seeds)
    shape = (*batch, channels, *space)
    x = logits(regime, dtype, seed, shape, len(batch))
    labels = {"profile": "batch" if batch else "no batch", "regime": regime}
    return Case(Call(layer, {}, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def gumbel_softmaxes(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of samples of the Gumbel-softmax distribution."""
    shape, axis = _draw_shape_and_axis(draw)
    rank = max(len(shape), 1)
    kind = draw(st.sampled_from(("last", "named", "from the end")))
    tau, hard, eps = draw(taus), draw(yes_no), draw(st.sampled_from((1e-10, 1e-10, 0.5)))
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    if kind == "last":
        axis = rank - 1
    dim = axis if kind == "named" else axis - rank
    if hard and 0 in shape[axis : axis + 1]:
        shape = (*shape[:axis], 1, *shape[axis + 1 :])  # without classes none is the largest
    values: dict[str, Any] = {"tau": tau, "hard": hard, "eps": eps, "dim": dim}
    defaults: dict[str, Any] = {"tau": 1.0, "hard": False, "eps": 1e-10, "dim": -1}
    arguments = writer.explicit_arguments(values, defaults)
    x = logits(regime, dtype, seed, shape, axis)
    labels = {"profile": "hard" if hard else "soft", "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


def _draw_shape_and_axis(draw: Draw) -> tuple[tuple[int, ...], int]:
    """Draw a shape and the axis of the softmax."""
    rank = draw(ranks)
    if not rank:
        return (), 0
    axis = rank - 1 if draw(yes_no) else draw(st.integers(0, rank - 1))
    sizes = [draw(other_lengths if rank < 3 else nonempty_lengths) for _ in range(rank)]
    sizes[axis] = draw(lengths if rank < 4 else channel_counts)
    return tuple(sizes), axis
