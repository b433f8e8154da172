"""Cases of embeddings: the module and the function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# plain: two sizes only; full: all arguments; often: few rows, each looked up many times; wide: as
# many features as kernels take at a time, and one more or less.
profiles = st.sampled_from(("plain", "full", "full", "often", "wide"))
counts = st.sampled_from((1, 2, 3, 5, 10, 40))
few_counts = st.sampled_from((1, 2, 3))
features = st.sampled_from((1, 2, 3, 4, 8, 17))
wide_features = st.sampled_from((15, 16, 31, 32, 33, 64, 65, 127, 128))
# Scalars, one axis, several, empty ones, and more indices than a kernel's block.
shapes = st.sampled_from(
    (
        *((1,), (2,), (3,), (), (2, 3), (4, 1), (2, 2, 2), (67,)),
        *((5,), (1, 2), (3, 2), (17,), (1, 1, 3), (2, 9), (0,), (2, 0)),
    )
)
long_shapes = st.sampled_from(((5,), (2, 4), (9,), (33,), (8, 8), (3, 7)))
max_norms = st.sampled_from((None, 1.0, 0.5, 2.5, 5.0, 1000.0))
norm_types = st.sampled_from((2.0, 1.0, math.inf, 0.5, 3.0))
yes_no = st.booleans()


@composite
def embeddings(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of an embedding; sparse gradients are not drawn.

    Args:
        layer: `"Embedding"` or `"functional.embedding"`.
    """
    profile = draw(profiles)
    is_plain = profile == "plain"
    count = draw(few_counts if profile == "often" else counts)
    width = draw(wide_features if profile == "wide" else features)
    shape = draw(long_shapes if profile == "often" else shapes)
    has_padding = not is_plain and draw(yes_no)
    padding = draw(st.integers(-count, count - 1)) if has_padding else None
    max_norm = None if is_plain else draw(max_norms)
    norm_type = 2.0 if max_norm is None else draw(norm_types)
    by_frequency = not is_plain and draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    if max_norm is not None and writer.next_bit():
        regime = "normal"

    filler = Filler(regime, dtype, seed, width)
    weight = filler.operand(count, width)
    flat_indices = np.random.default_rng((seed, 2)).integers(0, count, math.prod(shape))
    index = flat_indices.reshape(shape)
    options: dict[str, Any] = {
        "padding_idx": padding,
        "max_norm": max_norm,
        "norm_type": norm_type,
        "scale_grad_by_freq": by_frequency,
        "sparse": False,
    }
    defaults = {
        "padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False,
        "sparse": False,
    }  # fmt: skip
    arguments = writer.explicit_arguments(options, defaults)
    labels = {"profile": profile, "regime": regime}
    if is_function(layer):
        call = Call(layer, arguments, {}, dtype, "cpu")
        return Case(call, (index, weight), labels=labels, seed=seed)
    required = {"num_embeddings": count, "embedding_dim": width}
    call = Call(layer, required | arguments, {"weight": weight}, dtype, "cpu")
    return Case(call, (index,), labels=labels, seed=seed)
