"""Cases of binary cross entropies: of probabilities, and of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
from conformance.strategies.loss.pointwise import called, shape, yes_no
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.model.formats import format_of, round_to

# `integers` has 0, ¼, ½ and 1 only; `ends` has numbers next to 0 and 1.
PROBABILITIES = ("integers", "normal", "ends", "even")
# `saturated` has logits so large that e^−x vanishes beside 1, or overflows.
LOGITS = ("integers", "normal", "saturated", "spread", "tiny")
probable = st.sampled_from(PROBABILITIES)
logical = st.sampled_from(LOGITS)
# Targets: 0 or 1, independent probabilities, or the input's probabilities.
targets = st.sampled_from(("hard", "soft", "own"))
# Shapes of a function's weight.
_FORMS = st.sampled_from(("last", "last", "whole", "one", "column"))


class Numbers:
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
            near = np.ldexp(1.0, -draw.integers(1, format_of(self.dtype).bits + 1, shape))
            found = np.where(draw.integers(0, 2, shape) == 1, low, 1.0 - near)
        elif self.regime == "even":
            found = draw.uniform(0.0, 1.0, shape)
        else:
            found = 1.0 / (1.0 + np.exp(-2.0 * draw.standard_normal(shape)))
        return round_to(found, self.dtype)

    def logits(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers of either sign."""
        draw = self.generator
        if self.regime == "integers":
            return draw.integers(-3, 3, shape, endpoint=True).astype(np.float64)
        if self.regime == "saturated":
            return draw.choice([128.0, -128.0, 1024.0, -1024.0, 0.0], shape)
        scale = {"spread": 16.0, "tiny": 2.0**-10}.get(self.regime, 1.0)
        return round_to(draw.standard_normal(shape) * scale, self.dtype)

    def target(self, kind: str, shape: tuple[int, ...], own: np.ndarray | None) -> np.ndarray:
        """Fill the target with numbers from 0 to 1.

        Args:
            kind: one of `targets`.
            own: the input's probabilities.
        """
        draw = self.generator
        if kind == "own" and own is not None:
            return own.copy()
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


def _weight_shape(draw: Draw, layer: str, whole: tuple[int, ...]) -> tuple[int, ...]:
    """Draw the weight's shape: one per class, the last axis; for a function any that broadcasts."""
    form = draw(_FORMS) if is_function(layer) else "last"
    if form == "whole":
        return whole
    if form == "one":
        return (1,) * min(len(whole), 1)
    if form == "column" and whole:
        return (*whole[:1], *(1,) * (len(whole) - 1))
    return whole[-1:]


def _case(
    layer: str,
    made: Numbers,
    arrays: tuple[np.ndarray, np.ndarray],
    weights: dict[str, np.ndarray | None],
    arguments: tuple[Written, str, str, int],
) -> Case:
    written, reduction, profile, seed = arguments
    function = is_function(layer)
    inputs: tuple[Any, ...] = (*arrays, *weights.values()) if function else arrays
    state = {} if function else {name: w for name, w in weights.items() if w is not None}
    labels = {"profile": profile, "regime": made.regime}
    given = written.optional({"reduction": reduction}, {"reduction": "mean"})
    return called(layer, made.dtype, given, inputs, labels, seed, state)


@composite
def binary(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the binary cross entropy of probabilities.

    Args:
        layer: `"BCELoss"` or `"functional.binary_cross_entropy"`.
    """
    whole, reduction, kind = shape(draw), draw(reductions), draw(targets)
    weighted = draw(yes_no)
    sized = _weight_shape(draw, layer, whole)
    written = Written(draw(masks))
    regime, seed = draw(probable), draw(seeds)
    made = Numbers(regime, dtype, seed)
    x = made.probabilities(whole)
    y = made.target(kind, whole, x)
    weights = {"weight": made.weight(sized) if weighted else None}
    return _case(layer, made, (x, y), weights, (written, reduction, kind, seed))


@composite
def binary_with_logits(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the binary cross entropy of logits.

    Args:
        layer: `"BCEWithLogitsLoss"` or `"functional.binary_cross_entropy_with_logits"`.
    """
    whole, reduction, kind = shape(draw), draw(reductions), draw(targets)
    weighted, positive = draw(yes_no), draw(yes_no)
    sized, others = _weight_shape(draw, layer, whole), _weight_shape(draw, layer, whole)
    written = Written(draw(masks))
    regime, seed = draw(logical), draw(seeds)
    made = Numbers(regime, dtype, seed)
    x = made.logits(whole)
    with np.errstate(over="ignore"):
        own = round_to(1.0 / (1.0 + np.exp(-x)), dtype)
    y = made.target(kind, whole, own)
    weights = {
        "weight": made.weight(sized) if weighted else None,
        "pos_weight": made.weight(others) if positive else None,
    }
    return _case(layer, made, (x, y), weights, (written, reduction, kind, seed))
