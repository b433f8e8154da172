"""Cases of the losses of ±1 labels, one for each number or pair of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

# Vector code reads 8, 16 or 64 elements at a time, and a tail.
_COUNTS = (1, 2, 3, 4, 8, 17, 0, 67, 257)
vectors = st.sampled_from(tuple((n,) for n in _COUNTS))
shapes = st.one_of(
    vectors,
    st.just(()),
    st.lists(st.sampled_from((1, 2, 3, 5, 0)), min_size=2, max_size=4).map(tuple),
)
pairs = st.one_of(vectors, vectors, st.just(()))
# Often none: unreduced, every loss is visible.
reductions = st.sampled_from(("mean", "none", "sum", "none"))
# Random labels, or the same for all, so that a single number gets both equally often.
label_kinds = st.sampled_from(("any", "any", "1", "-1"))
# With whole margins, integers lie exactly on the kinks.
_EMBEDDING_MARGINS = st.sampled_from((1.0, 1.0, 0.0, 2.0, 0.5, 0.1, -1.0))
_RANKING_MARGINS = st.sampled_from((0.0, 0.0, 1.0, 2.0, 0.5, 0.1, -1.0))
# Magnitudes at which an exponential vanishes beside 1, or overflows in some format.
_MODERATE_MAGNITUDES = (0.0, 1.0, 4.0, 9.0, 11.0, 17.0, 22.0, 30.0, 40.0)
_ALL_MAGNITUDES = (*_MODERATE_MAGNITUDES, 12.0, 88.0, 90.0, 100.0, 710.0, 750.0)


def random_signs(kind: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """±1 for each sample; `kind` is one of `label_kinds`."""
    signs = generator.choice([1.0, -1.0], shape)
    return np.asarray(signs if kind == "any" else np.full(shape, float(kind)))


def _filler(regime: str, dtype: str, seed: int, shape: tuple[int, ...]) -> Filler:
    """A filler in whose integer regimes the sum of all losses is exact."""
    return Filler(regime, dtype, seed, 4 * max(int(np.prod(shape)), 1), factors=1)


def _case(
    layer: str,
    dtype: str,
    arrays: tuple[np.ndarray, ...],
    arguments: dict[str, Any],
    **labels_and_seed: Any,
) -> Case:
    seed = labels_and_seed.pop("seed")
    return Case(Call(layer, arguments, {}, dtype, "cpu"), arrays, labels=labels_and_seed, seed=seed)


@composite
def hinge_embeddings(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the hinge embedding loss.

    Args:
        layer: `"HingeEmbeddingLoss"` or `"functional.hinge_embedding_loss"`.
    """
    shape, kind = draw(shapes), draw(label_kinds)
    values = {"margin": draw(_EMBEDDING_MARGINS), "reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = _filler(regime, dtype, seed, shape)
    arrays = filler.operand(*shape), random_signs(kind, shape, filler.generator)
    arguments = writer.explicit_arguments(values, {"margin": 1.0, "reduction": "mean"})
    return _case(layer, dtype, arrays, arguments, profile=kind, regime=regime, seed=seed)


@composite
def rankings(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the margin ranking loss.

    Args:
        layer: `"MarginRankingLoss"` or `"functional.margin_ranking_loss"`.
    """
    shape, kind = draw(pairs), draw(label_kinds)
    values = {"margin": draw(_RANKING_MARGINS), "reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = _filler(regime, dtype, seed, shape)
    first, second = filler.operand(*shape), filler.operand(*shape)
    arrays = first, second, random_signs(kind, shape, filler.generator)
    arguments = writer.explicit_arguments(values, {"margin": 0.0, "reduction": "mean"})
    return _case(layer, dtype, arrays, arguments, profile=kind, regime=regime, seed=seed)


_SOFT_REGIMES = st.sampled_from(
    ("ramp", "integers", "normal", "around", "around", "beyond", "mixed", "subnormal")
)


@composite
def soft_margins(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the soft margin loss.

    Args:
        layer: `"SoftMarginLoss"` or `"functional.soft_margin_loss"`.
    """
    shape, kind = draw(shapes), draw(label_kinds)
    values = {"reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(_SOFT_REGIMES), draw(seeds)
    if regime in ("around", "beyond"):
        generator = np.random.default_rng(seed)
        magnitudes = _MODERATE_MAGNITUDES if regime == "around" else _ALL_MAGNITUDES
        x = generator.choice(magnitudes, shape) * generator.choice([1.0, -1.0], shape)
    else:
        filler = _filler(regime, dtype, seed, shape)
        x, generator = filler.operand(*shape), filler.generator
    arrays = round_to(np.asarray(x), dtype), random_signs(kind, shape, generator)
    arguments = writer.explicit_arguments(values, {"reduction": "mean"})
    return _case(layer, dtype, arrays, arguments, profile=kind, regime=regime, seed=seed)
