"""Cases of negative log likelihoods: Poisson and Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
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

REGIMES = ("integers", "normal", "tiny", "spread")
regimes = st.sampled_from(REGIMES)
_POISSON_EPS = st.sampled_from((1e-8, 1e-8, 0.5, 1e-4, 0.0625))
_GAUSS_EPS = st.sampled_from((1e-6, 1e-6, 0.5, 1e-3, 0.0625))
# A variance for each number; for each row, with and without the last axis; for each column.
_VARIANCES = st.sampled_from(("whole", "whole", "rows", "fewer", "columns"))


class LikelihoodFiller:
    """Fills the arrays of one case; `regime` is one of `REGIMES`."""

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.generator = np.random.default_rng(seed)
        self.scale = {"spread": 4.0, "tiny": 2.0**-6}.get(regime, 1.0)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers of either sign."""
        if self.regime == "integers":
            return self.generator.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        return round_to(self.generator.standard_normal(shape) * self.scale, self.dtype)

    def rates(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with expected counts, which are at least 0."""
        return np.asarray(np.abs(self.values(shape)))

    def counts(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with counts, mostly integers; the loss also accepts other numbers."""
        integers = self.generator.poisson(2.0, shape).astype(np.float64)
        if self.regime == "integers":
            return integers
        fractional = np.abs(self.generator.standard_normal(shape)) * 3
        return round_to(
            np.where(self.generator.random(shape) < 0.3, fractional, integers), self.dtype
        )

    def variances(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with variances, some of them 0 or small enough to be clamped to eps."""
        draw = self.generator
        if self.regime == "integers":
            return draw.choice([1.0, 2.0, 0.5, 4.0, 0.25], shape)
        # e¹¹ is below the largest number of float16.
        values = np.exp(np.minimum(self.scale * draw.standard_normal(shape), 11.0))
        selector = draw.random(shape)
        values = np.where(selector < 0.1, 0.0, np.where(selector < 0.2, 2.0**-12, values))
        return round_to(values, self.dtype)


@composite
def poisson_losses(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"PoissonNLLLoss"` or `"functional.poisson_nll_loss"`."""
    first, second = draw_broadcast_shapes(draw, draw_shape(draw))
    reduction, full = draw(reductions), draw(yes_no)
    logarithm = not draw(yes_no)
    eps = draw(_POISSON_EPS)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = LikelihoodFiller(regime, dtype, seed)
    x = filler.values(first) if logarithm else filler.rates(first)
    y = filler.counts(second)
    values: dict[str, Any] = {
        "log_input": logarithm, "full": full, "eps": eps, "reduction": reduction,
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "log_input": True, "full": False, "eps": 1e-8, "reduction": "mean",
    }  # fmt: skip
    profile = "logarithms" if logarithm else "rates"
    labels = {"profile": profile, "regime": regime}
    arguments = writer.explicit_arguments(values, defaults)
    return build_case(layer, dtype, arguments, (x, y), labels, seed)


@composite
def gaussian_losses(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"GaussianNLLLoss"` or `"functional.gaussian_nll_loss"`."""
    input_shape, form = draw_shape(draw), draw(_VARIANCES)
    target_shape = input_shape
    if input_shape and not draw(st.integers(0, 5)):
        axis = draw(st.integers(0, len(input_shape) - 1))
        target_shape = (*input_shape[:axis], 1, *input_shape[axis + 1 :])
    reduction, full, eps = draw(reductions), draw(yes_no), draw(_GAUSS_EPS)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = LikelihoodFiller(regime, dtype, seed)
    x, y = filler.values(input_shape), filler.values(target_shape)
    variance_shape = input_shape
    if form == "rows" and input_shape:
        variance_shape = (*input_shape[:-1], 1)
    elif form == "fewer" and input_shape:
        variance_shape = input_shape[:-1]
    elif form == "columns" and input_shape:
        variance_shape = (1, *input_shape[1:])
    values = {"full": full, "eps": eps, "reduction": reduction}
    defaults = {"full": False, "eps": 1e-6, "reduction": "mean"}
    labels = {"profile": form, "regime": regime}
    inputs = (x, y, filler.variances(variance_shape))
    arguments = writer.explicit_arguments(values, defaults)
    return build_case(layer, dtype, arguments, inputs, labels, seed)
