"""Cases of bags of embeddings, module and function, and of one-hot rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.embedding.embedding import (
    counts,
    features,
    few_counts,
    max_norms,
    norm_types,
)
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# fixed: (bags, size); offsets: bags of any size, empty ones among them; often: few rows, each of
# them in many bags.
profiles = st.sampled_from(("plain", "fixed", "offsets", "offsets", "often"))
modes = st.sampled_from(("mean", "sum", "max", "sum"))
fixed = st.sampled_from(
    (
        *((1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (3, 4)),
        *((1, 8), (0, 2), (5, 1), (2, 40), (1, 67), (2, 0)),
    )
)
sizes = st.lists(st.sampled_from((1, 2, 0, 3, 1, 4, 0, 9)), max_size=5) | st.sampled_from(
    ([33], [0], [2, 0, 0, 1], [64, 1], [0, 0, 3], [129], [3, 40])
)
often = st.lists(st.sampled_from((4, 3, 0, 7)), min_size=1, max_size=4)
yes_no = st.booleans()
_DEFAULTS: dict[str, Any] = {
    "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "mode": "mean",
    "sparse": False, "include_last_offset": False, "padding_idx": None,
}  # fmt: skip


@composite
def embedding_bags(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of bags of embeddings.

    Args:
        layer: `"EmbeddingBag"` or `"functional.embedding_bag"`.
    """
    profile, mode = draw(profiles), draw(modes)
    is_plain = profile == "plain"
    count = draw(few_counts if profile == "often" else counts)
    width = draw(features)
    shape, lengths = _draw_bags(draw, profile)
    has_factors = mode == "sum" and not is_plain and draw(yes_no)
    has_padding = not is_plain and draw(yes_no)
    padding = draw(st.integers(-count, count - 1)) if has_padding else None
    max_norm = None if is_plain else draw(max_norms)
    norm_type = 2.0 if max_norm is None else draw(norm_types)
    by_frequency = mode != "max" and not is_plain and draw(yes_no)
    include_last = draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    if max_norm is not None and writer.next_bit():
        regime = "normal"
    sparse = (
        mode != "max"
        and not by_frequency
        and not is_plain
        and writer.next_bit()
        and writer.next_bit()
    )

    total = math.prod(shape)
    # The sum of a gradient has up to as many terms as there are indices, or features.
    filler = Filler(regime, dtype, seed, max(total, width), factors=2 if has_factors else 1)
    weight = filler.operand(count, width)
    factors = filler.operand(*shape) if has_factors else None
    index = np.random.default_rng((seed, 2)).integers(0, count, shape)
    offsets = None
    if lengths is not None:
        ends = np.cumsum([0, *lengths])
        offsets = ends if include_last else ends[:-1]
    options = {
        "max_norm": max_norm, "norm_type": norm_type, "scale_grad_by_freq": by_frequency,
        "mode": mode, "sparse": sparse, "include_last_offset": include_last, "padding_idx": padding,
    }  # fmt: skip
    arguments = writer.explicit_arguments(options, _DEFAULTS)
    labels = {"profile": profile, "regime": regime}
    if is_function(layer):
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (index, weight, offsets, factors), labels=labels, seed=seed)
    required = {"num_embeddings": count, "embedding_dim": width}
    call = Call(layer, required | arguments, {"weight": weight}, dtype, "cpu")
    return Case(call, (index, offsets, factors), labels=labels, seed=seed)


def _draw_bags(draw: Draw, profile: str) -> tuple[tuple[int, ...], list[int] | None]:
    """Draw the shape of the indices, and the size of each bag if the indices need offsets."""
    if profile in ("plain", "fixed"):
        return draw(fixed), None
    lengths = draw(often if profile == "often" else sizes)
    return (sum(lengths),), lengths


classes = st.sampled_from((None, -1, None, 1, 2, 5, 17, 129))
shapes = st.sampled_from(
    ((1,), (2,), (), (3,), (2, 3), (4, 1), (2, 1, 2), (67,), (0,), (2, 0), (1, 1, 1, 2))
)


@composite
def one_hots(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of one-hot rows; `dtype` labels the case only: the call has integers."""
    shape, num_classes = draw(shapes), draw(classes)
    seed = draw(seeds)
    if not math.prod(shape) and num_classes in (-1, None):
        num_classes = 3  # an empty tensor has no largest class
    class_count = 9 if num_classes in (-1, None) else num_classes
    tensor = np.asarray(np.random.default_rng((seed, 2)).integers(0, class_count, shape))
    arguments = {} if num_classes is None else {"num_classes": num_classes}
    labels = {"profile": "inferred" if num_classes in (-1, None) else "given", "regime": "integers"}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (tensor,), labels=labels, seed=seed)
