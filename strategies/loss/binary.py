"""Cases of binary cross entropies: of probabilities, and of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
from conformance.strategies.loss.pointwise import build_case, draw_shape, yes_no
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.model.formats import format_of, round_to

# `integers` has 0, ¼, ½ and 1 only; `ends` has numbers next to 0 and 1.
PROBABILITIES = ("integers", "normal", "ends", "even")
# `saturated` has logits so large that e^−x vanishes beside 1, or overflows.
LOGITS = ("integers", "normal", "saturated", "spread", "tiny")
probability_regimes = st.sampled_from(PROBABILITIES)
logit_regimes = st.sampled_from(LOGITS)
# Targets: 0 or 1, independent probabilities, or the input's probabilities.
targets = st.sampled_from(("hard", "soft", "own"))
# Shapes of a function's weight.
_WEIGHT_FORMS = st.sampled_from(("last", "last", "whole", "one", "column"))


class BinaryFiller:
    """Fills the arrays of one case; `regime` is one of `PROBABILITIES` or `LOGITS`."""

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.generator = np.random.default_rng(seed)

    def probabilities(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers from 0 to 1, both included."""
        draw = self.generator
        if self.regime == "integers":
            return draw.choice([0.5, 1.0, 0.0, 0.25], shape)
        if self.regime == "ends":
            # As close to 0 as 2⁻¹⁰⁰ (float16: 2⁻¹⁴), and as close to 1 as the dtype can be.
            bits = 14 if self.dtype == "float16" else 100
            low = np.ldexp(draw.uniform(0.5, 1.0, shape), -draw.integers(0, bits, shape))
            gaps = np.ldexp(1.0, -draw.integers(1, format_of(self.dtype).bits + 1, shape))
            values = np.where(draw.integers(0, 2, shape) == 1, low, 1.0 - gaps)
        elif self.regime == "even":
            values = draw.uniform(0.0, 1.0, shape)
        else:
            values = 1.0 / (1.0 + np.exp(-2.0 * draw.standard_normal(shape)))
        return round_to(values, self.dtype)

    def logits(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers of either sign."""
        draw = self.generator
        if self.regime == "integers":
            return draw.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        if self.regime == "saturated":
            return draw.choice([128.0, -128.0, 1024.0, -1024.0, 0.0], shape)
        scale = {"spread": 16.0, "tiny": 2.0**-10}.get(self.regime, 1.0)
        return round_to(draw.standard_normal(shape) * scale, self.dtype)

    def target(
        self, kind: str, shape: tuple[int, ...], input_probabilities: np.ndarray | None
    ) -> np.ndarray:
        """Fill the target with numbers from 0 to 1.

        Args:
            kind: one of `targets`.
            input_probabilities: the input's probabilities.
        """
        draw = self.generator
        if kind == "own" and input_probabilities is not None:
            return input_probabilities.copy()
        if kind == "hard":
            return draw.integers(0, 2, shape).astype(np.float64)
        if self.regime in ("integers", "saturated"):
            return draw.choice([0.5, 1.0, 0.0, 0.25], shape)
        return round_to(draw.uniform(0.0, 1.0, shape), self.dtype)

    def weight(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill a weight with positive numbers; powers of two in the exact regimes."""
        if self.regime in ("integers", "saturated"):
            return self.generator.choice([1.0, 2.0, 0.5, 4.0], shape)
        return round_to(self.generator.uniform(0.25, 4.0, shape), self.dtype)


def _weight_shape(draw: Draw, layer: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Draw the weight's shape: one per class, the last axis; for a function any that broadcasts."""
    form = draw(_WEIGHT_FORMS) if is_function(layer) else "last"
    if form == "whole":
        return shape
    if form == "one":
        return (1,) * min(len(shape), 1)
    if form == "column" and shape:
        return (*shape[:1], *(1,) * (len(shape) - 1))
    return shape[-1:]


def _case(
    layer: str,
    filler: BinaryFiller,
    arrays: tuple[np.ndarray, np.ndarray],
    weights: dict[str, np.ndarray | None],
    arguments: tuple[ArgumentWriter, str, str, int],
) -> Case:
    written, reduction, profile, seed = arguments
    function = is_function(layer)
    inputs: tuple[Any, ...] = (*arrays, *weights.values()) if function else arrays
    state = {} if function else {name: w for name, w in weights.items() if w is not None}
    labels = {"profile": profile, "regime": filler.regime}
    explicit = written.explicit_arguments({"reduction": reduction}, {"reduction": "mean"})
    return build_case(layer, filler.dtype, explicit, inputs, labels, seed, state)


@composite
def binary_cross_entropies(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the binary cross entropy of probabilities.

    Args:
        layer: `"BCELoss"` or `"functional.binary_cross_entropy"`.
    """
    losses_shape, reduction, kind = draw_shape(draw), draw(reductions), draw(targets)
    has_weight = draw(yes_no)
    weight_shape = _weight_shape(draw, layer, losses_shape)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(probability_regimes), draw(seeds)
    filler = BinaryFiller(regime, dtype, seed)
    x = filler.probabilities(losses_shape)
    y = filler.target(kind, losses_shape, x)
    weights = {"weight": filler.weight(weight_shape) if has_weight else None}
    return _case(layer, filler, (x, y), weights, (writer, reduction, kind, seed))


@composite
def binary_cross_entropies_with_logits(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the binary cross entropy of logits.

    Args:
        layer: `"BCEWithLogitsLoss"` or `"functional.binary_cross_entropy_with_logits"`.
    """
    losses_shape, reduction, kind = draw_shape(draw), draw(reductions), draw(targets)
    has_weight, has_pos_weight = draw(yes_no), draw(yes_no)
    weight_shape, pos_weight_shape = (
        _weight_shape(draw, layer, losses_shape),
        _weight_shape(draw, layer, losses_shape),
    )
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(logit_regimes), draw(seeds)
    filler = BinaryFiller(regime, dtype, seed)
    x = filler.logits(losses_shape)
    with np.errstate(over="ignore"):
        input_probabilities = round_to(1.0 / (1.0 + np.exp(-x)), dtype)
    y = filler.target(kind, losses_shape, input_probabilities)
    weights = {
        "weight": filler.weight(weight_shape) if has_weight else None,
        "pos_weight": filler.weight(pos_weight_shape) if has_pos_weight else None,
    }
    return _case(layer, filler, (x, y), weights, (writer, reduction, kind, seed))
