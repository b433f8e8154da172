"""Cases of negative log likelihoods: Poisson and Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
from conformance.strategies.loss.pointwise import called, shape, spread, yes_no
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


class Numbers:
    """Fills the arrays of one case; `regime` is one of `REGIMES`."""

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.generator = np.random.default_rng(seed)
        self.scale = {"spread": 4.0, "tiny": 2.0**-6}.get(regime, 1.0)

    def numbers(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers of either sign."""
        if self.regime == "integers":
            return self.generator.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        return round_to(self.generator.standard_normal(shape) * self.scale, self.dtype)

    def rates(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with expected counts, which are at least 0."""
        return np.asarray(np.abs(self.numbers(shape)))

    def counts(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with counts, mostly integers; the loss also accepts other numbers."""
        whole = self.generator.poisson(2.0, shape).astype(np.float64)
        if self.regime == "integers":
            return whole
        parts = np.abs(self.generator.standard_normal(shape)) * 3
        return round_to(np.where(self.generator.random(shape) < 0.3, parts, whole), self.dtype)

    def variances(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with variances, some of them 0 or small enough to be clamped to eps."""
        draw = self.generator
        if self.regime == "integers":
            return draw.choice([1.0, 2.0, 0.5, 4.0, 0.25], shape)
        found = np.exp(self.scale * draw.standard_normal(shape))
        below = draw.random(shape)
        found = np.where(below < 0.1, 0.0, np.where(below < 0.2, 2.0**-12, found))
        return round_to(found, self.dtype)


@composite
def poisson(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"PoissonNLLLoss"` or `"functional.poisson_nll_loss"`."""
    first, second = spread(draw, shape(draw))
    reduction, full = draw(reductions), draw(yes_no)
    logarithm = not draw(yes_no)
    eps = draw(_POISSON_EPS)
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    made = Numbers(regime, dtype, seed)
    x = made.numbers(first) if logarithm else made.rates(first)
    y = made.counts(second)
    values: dict[str, Any] = {
        "log_input": logarithm, "full": full, "eps": eps, "reduction": reduction,
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "log_input": True, "full": False, "eps": 1e-8, "reduction": "mean",
    }  # fmt: skip
    profile = "logarithms" if logarithm else "rates"
    labels = {"profile": profile, "regime": regime}
    arguments = written.optional(values, defaults)
    return called(layer, dtype, arguments, (x, y), labels, seed)


@composite
def gaussian(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"GaussianNLLLoss"` or `"functional.gaussian_nll_loss"`."""
    whole, form = shape(draw), draw(_VARIANCES)
    target = whole
    if whole and not draw(st.integers(0, 5)):
        axis = draw(st.integers(0, len(whole) - 1))
        target = (*whole[:axis], 1, *whole[axis + 1 :])
    reduction, full, eps = draw(reductions), draw(yes_no), draw(_GAUSS_EPS)
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    made = Numbers(regime, dtype, seed)
    x, y = made.numbers(whole), made.numbers(target)
    sized = whole
    if form == "rows" and whole:
        sized = (*whole[:-1], 1)
    elif form == "fewer" and whole:
        sized = whole[:-1]
    elif form == "columns" and whole:
        sized = (1, *whole[1:])
    values = {"full": full, "eps": eps, "reduction": reduction}
    defaults = {"full": False, "eps": 1e-6, "reduction": "mean"}
    labels = {"profile": form, "regime": regime}
    inputs = (x, y, made.variances(sized))
    arguments = written.optional(values, defaults)
    return called(layer, dtype, arguments, inputs, labels, seed)
