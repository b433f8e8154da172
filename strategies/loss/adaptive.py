"""Cases of the adaptive softmax: clusters of classes, their weights, targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import MARGIN, LossFiller
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# The module; its methods take no target.
LOSS = "AdaptiveLogSoftmaxWithLoss"
features = st.sampled_from((1, 2, 3, 4, 5, 8, 16, 17, 64))
batches = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 33, 0))
# Classes of the head, then of each cluster.
sizes = st.lists(st.sampled_from((1, 2, 3, 4, 8, 17, 33)), min_size=2, max_size=4).map(tuple)
divisors = st.sampled_from((4.0, 2.0, 1.0, 8.0, 1.5))
unbatched = st.sampled_from((False, False, False, True))
biases = st.sampled_from((False, True))
# Targets: any classes, those of the head, or those of one cluster.
kinds = st.sampled_from(("any", "any", "head", "cluster"))
REGIMES = ("integers", "saturated", "normal", "spread", "tiny")
regimes = st.sampled_from(REGIMES)


def state_tensors(numbers: LossFiller, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Fill the state; where logits have to be exact, projections select features."""
    state = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            tensor = numbers.logits(shape, 0)
            if numbers.regime == "saturated":
                # Equal logits this large would overflow every exponential.
                tensor = np.full(shape, numbers.generator.choice([0.0, MARGIN]))
        elif name.endswith(".0.weight") and numbers.exact:
            tensor = np.zeros(shape)
            if shape[0]:
                rows = numbers.generator.integers(shape[0], size=shape[1])
                tensor[rows, np.arange(shape[1])] = 1.0
        elif numbers.regime == "integers":
            tensor = numbers.generator.integers(-1, 1, shape, endpoint=True).astype(np.float64)
        elif numbers.regime == "saturated":
            tensor = numbers.logits(shape, 0)
        else:
            tensor = round_to(numbers.logits(shape, 0) / math.sqrt(max(shape[1], 1)), numbers.dtype)
        state[name] = tensor
    return state


def feature_rows(numbers: LossFiller, shape: tuple[int, ...]) -> np.ndarray:
    """Fill the input; rows are one-hot where logits have to be far apart."""
    if numbers.regime == "saturated":
        return np.eye(shape[-1])[numbers.generator.integers(shape[-1], size=shape[:-1])]
    if numbers.exact:
        return numbers.generator.integers(-2, 2, shape, endpoint=True).astype(np.float64)
    return round_to(numbers.generator.standard_normal(shape), numbers.dtype)


@composite
def adaptive_softmaxes(
    draw: Draw, layer: str, shapes: Callable[..., dict[str, tuple[int, ...]]], dtype: str
) -> Case:
    """Cases of the module and of its methods.

    Args:
        layer: `"AdaptiveLogSoftmaxWithLoss"`, or that and the name of a method.
        shapes: arguments → shapes of the state.
    """
    without_batch = draw(unbatched) and layer == LOSS
    leading = () if without_batch else (draw(batches),)
    width, class_counts, divisor = draw(features), draw(sizes), draw(divisors)
    head_bias, kind = draw(biases), draw(kinds)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    numbers = LossFiller(regime, dtype, seed)
    cumulative = tuple(accumulate(class_counts))
    arguments: dict[str, Any] = {
        "in_features": width, "n_classes": cumulative[-1], "cutoffs": cumulative[:-1]
    }  # fmt: skip
    values = {"div_value": divisor, "head_bias": head_bias}
    state = state_tensors(numbers, shapes(**arguments, **values))
    arguments |= writer.explicit_arguments(values, {"div_value": 4.0, "head_bias": False})
    inputs: tuple[np.ndarray, ...] = (feature_rows(numbers, (*leading, width)),)
    if layer == LOSS:
        low, high = 0, cumulative[-1]
        if kind == "head":
            high = cumulative[0]
        elif kind == "cluster":
            cluster = int(numbers.generator.integers(1, len(cumulative)))
            low, high = cumulative[cluster - 1], cumulative[cluster]
        inputs = (*inputs, np.asarray(numbers.generator.integers(low, high, size=leading)))
    labels = {"profile": kind, "regime": regime}
    call = Call(layer, arguments, state, dtype, "cpu")
    return Case(call, inputs, labels=labels, seed=seed)
