"""Cases of the margin losses over classes: scores, with one label or several per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.distance.vectors import HALF
from conformance.strategies.loss.cross_entropy import weighted_case
from conformance.strategies.loss.hinge import reductions
from conformance.strategies.loss.pointwise import positive_weights
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

_counts = st.sampled_from((1, 2, 3, 4, 5, 0, 8, 17))
_nonempty_counts = st.sampled_from((1, 2, 3, 4, 5, 8, 17))
_classes = st.sampled_from((1, 2, 3, 4, 5, 8, 10, 16, 17, 33, 65))
_few_classes = st.sampled_from((1, 2, 3, 4, 5, 8, 10, 17, 33))
_unbatched = st.sampled_from((False, False, False, True))
_flags = st.sampled_from((False, True))
_MARGINS = st.sampled_from((1.0, 1.0, 0.0, 2.0, 0.5, 0.1, -1.0))
_POWERS = st.sampled_from((1, 1, 2))
# Number of classes that are labels of a sample: any, none, one, all but one, all.
label_kinds = st.sampled_from(("any", "any", "none", "one", "most", "all"))
# Magnitudes at which eˣ vanishes or overflows in some format.
_MAGNITUDES = (0.0, 1.0, 4.0, 11.0, 17.0, 40.0, 88.0, 100.0, 256.0, 720.0)


def _shape(draw: Draw, dtype: str, classes: Any) -> tuple[int, ...]:
    """Draw a shape (C) or (N, C)."""
    count = draw(classes)
    if draw(_unbatched):
        return (count,)
    # In half precision no empty output, which even a backend without such a kernel returns.
    return (draw(_nonempty_counts if dtype in HALF else _counts), count)


@composite
def multi_margins(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the multi-class margin loss.

    Args:
        layer: `"MultiMarginLoss"` or `"functional.multi_margin_loss"`.
    """
    shape, has_weight = _shape(draw, dtype, _classes), draw(_flags)
    values: dict[str, Any] = {"p": draw(_POWERS), "margin": draw(_MARGINS)}
    values["reduction"] = draw(reductions)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    # The square of a sum of three has nine products, weighted by up to 4: 36, rounded up to 64.
    filler = Filler(regime, dtype, seed, 64 * max(int(np.prod(shape)), 1))
    x = filler.operand(*shape)
    target = filler.generator.integers(shape[-1], size=shape[:-1])
    weight = positive_weights(filler, (shape[-1],)) if has_weight else None
    arguments = writer.explicit_arguments(values, {"p": 1, "margin": 1.0, "reduction": "mean"})
    profile = "weighted" if has_weight else "plain"
    labels = {"profile": profile, "regime": regime}
    arrays = x, np.asarray(target)
    return weighted_case(layer, dtype, arrays, weight, arguments, labels, seed)


def _draw_labels(kind: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Draw distinct classes for each sample, then −1, then numbers that the loss must ignore."""
    count = shape[-1]
    labels = np.zeros(shape, np.int64)
    sizes = {"none": 0, "one": 1, "most": count - 1, "all": count}
    for row in labels.reshape(-1, count):
        label_count = sizes.get(kind, int(generator.integers(count + 1)))
        row[:] = generator.permutation(count)
        if label_count < count:
            row[label_count] = -1
            row[label_count + 1 :] = generator.integers(-1, count, count - label_count - 1)
    return labels


@composite
def multilabel_margins(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the multi-label margin loss.

    Args:
        layer: `"MultiLabelMarginLoss"` or `"functional.multilabel_margin_loss"`.
    """
    shape, kind = _shape(draw, dtype, _few_classes), draw(label_kinds)
    values = {"reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = max(int(np.prod(shape)), 1) * shape[-1]
    filler = Filler(regime, dtype, seed, 4 * terms, factors=1)
    arrays = filler.operand(*shape), _draw_labels(kind, shape, filler.generator)
    arguments = writer.explicit_arguments(values, {"reduction": "mean"})
    labels = {"profile": kind, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), arrays, labels=labels, seed=seed)


# In `right` each score has the sign of its label, so that every loss is small.
_SOFT_REGIMES = st.sampled_from(
    ("ramp", "normal", "around", "right", "integers", "mixed", "subnormal")
)


@composite
def multilabel_soft_margins(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the multi-label soft margin loss, whose target is 0 or 1 for each class.

    Args:
        layer: `"MultiLabelSoftMarginLoss"` or `"functional.multilabel_soft_margin_loss"`.
    """
    shape = (draw(_counts), draw(_classes))
    has_weight, values = draw(_flags), {"reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(_SOFT_REGIMES), draw(seeds)
    uses_magnitudes = regime in ("around", "right")
    filler = Filler("integers" if uses_magnitudes else regime, dtype, seed, 4, factors=1)
    x = filler.operand(*shape)
    target = filler.generator.integers(0, 1, shape, endpoint=True).astype(np.float64)
    if uses_magnitudes:
        matching_signs = 2 * target - 1
        signs = (
            filler.generator.choice([1.0, -1.0], shape) if regime == "around" else matching_signs
        )
        x = round_to(filler.generator.choice(_MAGNITUDES, shape) * signs, dtype)
    weight = positive_weights(filler, (shape[-1],)) if has_weight else None
    arguments = writer.explicit_arguments(values, {"reduction": "mean"})
    profile = "weighted" if has_weight else "plain"
    labels = {"profile": profile, "regime": regime}
    return weighted_case(layer, dtype, (x, target), weight, arguments, labels, seed)
