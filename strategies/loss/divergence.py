"""Cases of the Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.pointwise import (
    build_case,
    draw_broadcast_shapes,
    draw_shape,
    yes_no,
)
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.model.formats import round_to

reductions = st.sampled_from(("mean", "sum", "none", "batchmean", "batchmean"))
# `integers` has probabilities of 0 and 1 and whole logarithms.
REGIMES = ("integers", "normal", "spread", "tiny")
regimes = st.sampled_from(REGIMES)


@composite
def divergences(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"KLDivLoss"` or `"functional.kl_div"`: log probabilities and a target."""
    first, second = draw_broadcast_shapes(draw, draw_shape(draw))
    reduction, logarithms, equals_input = draw(reductions), draw(yes_no), draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    generator = np.random.default_rng(seed)
    x = _logarithms(generator, regime, first, dtype)
    if equals_input and first == second:
        y = x if logarithms else round_to(np.exp(x), dtype)
    elif logarithms:
        y = _logarithms(generator, regime, second, dtype)
    else:
        y = _probabilities(generator, regime, second, dtype)
    values: dict[str, Any] = {"reduction": reduction, "log_target": logarithms}
    defaults: dict[str, Any] = {"reduction": "mean", "log_target": False}
    labels = {"profile": "logarithms" if logarithms else "probabilities", "regime": regime}
    arguments = writer.explicit_arguments(values, defaults)
    return build_case(layer, dtype, arguments, (x, y.copy()), labels, seed)


def _logarithms(
    generator: np.random.Generator, regime: str, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """Logarithms of numbers from 0 to 1."""
    if regime == "integers":
        return -generator.integers(0, 4, shape).astype(np.float64)
    scale = {"spread": 6.0, "tiny": 2.0**-10}.get(regime, 1.0)
    return -round_to(np.abs(generator.standard_normal(shape)) * scale, dtype)


def _probabilities(
    generator: np.random.Generator, regime: str, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """Numbers from 0 to 1 that add up to about 1 along the last axis; some are 0."""
    if regime == "integers":
        return generator.choice([0.0, 1.0, 0.0], shape)
    values = np.exp(generator.standard_normal(shape) * (4.0 if regime == "spread" else 1.0))
    values = np.where(generator.random(shape) < 0.1, 0.0, values)
    total = np.maximum(values.sum(-1, keepdims=True) if shape else values * 2 + 1, 1e-3)
    return round_to(values / total, dtype)
