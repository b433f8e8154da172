"""Cases of the losses: logits with class indices or class probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function
from conformance.model.formats import round_to

# Kernels read 8, 16 or 64 classes at a time; a byte can index 128 or 256 of them.
classes = st.sampled_from((1, 2, 3, 4, 5, 8, 10, 15, 16, 17, 33, 64, 65, 129, 129, 257))
few_classes = st.sampled_from((1, 2, 3, 4, 5, 8, 17))
batches = st.sampled_from((1, 2, 3, 4, 5, 8, 16, 17, 0, 33))
forms = st.sampled_from(("rows", "rows", "rows", "unbatched", "positions", "positions"))
# With equal sizes, swapped axes keep the shape and show in the values only.
_SQUARES = st.sampled_from(((2, 2), (3, 3)))
_VOLUMES = st.sampled_from(((2, 1, 2), (1, 2, 3)))
square = st.sampled_from((False,) * 3 + (True,))
_POSITION_SHAPES = st.lists(st.sampled_from((1, 2, 3, 4, 0, 7)), min_size=1, max_size=3).map(tuple)
positions = st.one_of(_POSITION_SHAPES, _POSITION_SHAPES, _SQUARES, _VOLUMES)
kinds = st.sampled_from(("indices", "indices", "probabilities"))
reductions = st.sampled_from(("mean", "sum", "none"))
smoothings = st.sampled_from((0.0, 0.0, 0.25, 0.1, 0.5, 1.0))
# The ignored index: the default, a class, or an index out of range.
ignorings = st.sampled_from((-100, -100, -1, "class", 255))
shares = st.sampled_from((0.0, 0.0, 0.25, 0.5, 1.0))
flags = st.sampled_from((False, True))
# `integers` and `saturated` have whole cotangents; in `saturated` e^−x of every margin x is 0.
REGIMES = ("integers", "saturated", "normal", "offset", "spread", "tiny")
regimes = st.sampled_from(REGIMES)
MARGIN = 1024.0


def saturated_logits(
    generator: np.random.Generator, shape: tuple[int, ...], axis: int
) -> np.ndarray:
    """Logits with one class ahead by 1024 or more: log_softmax is exact, 0 or minus the margin.

    Args:
        shape: shape of the logits.
        axis: axis of the classes.
    """
    values = -MARGIN * generator.integers(1, 3, shape, endpoint=True).astype(np.float64)
    winners = np.expand_dims(generator.integers(shape[axis], size=drop_axis(shape, axis)), axis)
    np.put_along_axis(values, winners, 0.0, axis)
    return values


def weighted_case(
    layer: str,
    dtype: str,
    arrays: tuple[np.ndarray, ...],
    weight: np.ndarray | None,
    arguments: dict[str, Any],
    labels: dict[str, Any],
    seed: int,
) -> Case:
    """Build a case; the weight of the classes is an input of a function, state of a module.

    Args:
        arrays: the other inputs.
        weight: None = no weight.
        arguments: arguments that the call writes out.
    """
    if is_function(layer):
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (*arrays, weight), labels=labels, seed=seed)
    state = {} if weight is None else {"weight": weight}
    return Case(Call(layer, arguments, state, dtype, "cpu"), arrays, labels=labels, seed=seed)


class LossFiller:
    """Fills the arrays of one case; `regime` is one of `REGIMES`."""

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.exact = regime in ("integers", "saturated")
        self.generator = np.random.default_rng(seed)

    def logits(self, shape: tuple[int, ...], axis: int) -> np.ndarray:
        """Fill an array with logits; `axis` is that of the classes."""
        draw = self.generator
        if self.regime == "saturated":
            return saturated_logits(draw, shape, axis)
        if self.regime == "integers":
            return draw.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        values = draw.standard_normal(shape)
        if self.regime == "offset":
            values = values + 100 * draw.standard_normal()
        scale = {"spread": 8.0, "tiny": 2.0**-10}.get(self.regime, 1.0)
        return round_to(values * scale, self.dtype)

    def probabilities(self, shape: tuple[int, ...], axis: int) -> np.ndarray:
        """Fill an array with probabilities that add up to 1 along the axis, but for rounding."""
        if self.exact:
            # Four quarters go to drawn classes, which may repeat.
            quarters = np.zeros(shape)
            for _ in range(4):
                chosen = self.generator.integers(shape[axis], size=drop_axis(shape, axis))
                chosen = np.expand_dims(chosen, axis)
                current = np.take_along_axis(quarters, chosen, axis)
                np.put_along_axis(quarters, chosen, current + 0.25, axis)
            return quarters
        exponentials = self.generator.exponential(size=shape)
        return round_to(exponentials / exponentials.sum(axis=axis, keepdims=True), self.dtype)

    def indices(self, shape: tuple[int, ...], count: int, ignored: int, share: float) -> np.ndarray:
        """Fill a target with classes, often the last one, and with a share of ignored indices."""
        classes_drawn = np.asarray(self.generator.integers(count, size=shape))
        if classes_drawn.size and self.generator.random() < 0.5:
            classes_drawn[(0,) * classes_drawn.ndim] = count - 1
        return np.asarray(
            np.where(self.generator.random(shape) < share, ignored, classes_drawn), np.int64
        )

    def weights(self, count: int) -> np.ndarray:
        """Fill a positive weight for each class; in the exact regimes some may be 0."""
        if self.exact:
            return self.generator.choice([1.0, 2.0, 4.0, 0.5, 0.0], count)
        return round_to(self.generator.uniform(0.25, 4.0, count), self.dtype)


def drop_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def draw_scores_shape(draw: Draw) -> tuple[int, ...]:
    """Draw a shape of scores: (C), (N, C) or (N, C, d_1, …, d_K)."""
    form = draw(forms)
    if form == "unbatched":
        return (draw(classes),)
    if form == "rows":
        count = draw(classes)
        return (count if count < 10 and draw(square) else draw(batches), count)
    count, sizes, class_count = draw(batches), draw(positions), draw(few_classes)
    if 1 < class_count < 6 and draw(square):
        sizes = (class_count,)
    # Many positions with many classes are slow and show nothing new.
    is_large = count * math.prod(sizes) > 64
    return (min(count, 4) if is_large else count, class_count, *sizes)


@composite
def cross_entropies(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the cross entropy.

    Args:
        layer: `"CrossEntropyLoss"` or `"functional.cross_entropy"`.
    """
    shape = draw_scores_shape(draw)
    axis = 0 if len(shape) == 1 else 1
    kind, has_weight = draw(kinds), draw(flags)
    reduction, smoothing = draw(reductions), draw(smoothings)
    ignoring, share = draw(ignorings), draw(shares)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = LossFiller(regime, dtype, seed)
    ignored = shape[axis] - 1 if ignoring == "class" else ignoring
    if kind == "probabilities":
        ignored = min(ignored, -1)  # with probabilities ignore_index must not be a class
    x = filler.logits(shape, axis)
    if kind == "probabilities":
        target = filler.probabilities(shape, axis)
    else:
        target = filler.indices(drop_axis(shape, axis), shape[axis], ignored, share)
    weight = filler.weights(shape[axis]) if has_weight else None
    values = {"ignore_index": ignored, "reduction": reduction, "label_smoothing": smoothing}
    defaults = {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}
    arguments: dict[str, Any] = writer.explicit_arguments(values, defaults)
    labels = {"profile": kind, "regime": regime}
    return weighted_case(layer, dtype, (x, target), weight, arguments, labels, seed)
