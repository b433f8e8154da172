"""Cases of Identity, Linear, LazyLinear and Bilinear: modules and functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

features = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 64))
input_features = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 64, 0))
few_features = st.sampled_from((1, 2, 3, 4, 5, 9))
# No leading dimension, one, several, empty ones, and 67: above 64 kernels work in blocks.
leading_shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple) | st.sampled_from(
    ((1,), (2,), (3,), (2, 2), (2, 3, 2), (67,))
)
yes_no = st.booleans()
# The default comes first: shrinking prefers it.
biases = st.sampled_from((True, False))
constructor_arguments = st.dictionaries(
    st.sampled_from(("unused_argument1", "unused_argument2", "p")),
    st.sampled_from((0.1, False, None, 5)),
    max_size=2,
)
positional_arguments = st.lists(st.sampled_from((54, "unused", None)), max_size=2).map(tuple)


@composite
def identities(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of Identity: any constructor arguments, any shape, floating-point or integer input."""
    shape = draw(leading_shapes)
    integer = draw(yes_no)
    arguments: dict[str, Any] = dict(draw(constructor_arguments))
    extra = draw(positional_arguments)
    if extra:
        arguments["*"] = extra
    regime, seed = draw(regimes), draw(seeds)
    x = Filler(regime, dtype, seed, 1).operand(*shape)
    if integer:
        x = np.asarray(np.random.default_rng(seed).integers(-(2**62), 2**62, shape))
    labels = {"profile": "integer" if integer else "plain", "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def linears(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a linear layer.

    Args:
        layer: `"Linear"`, `"LazyLinear"` or `"functional.linear"`.
    """
    functional = is_function(layer)
    leading = draw(leading_shapes)
    in_features = draw(features if layer == "LazyLinear" else input_features)
    out_features = draw(features)
    bias = draw(biases)
    vector = functional and draw(st.integers(0, 3)) == 3
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = max(in_features, out_features, math.prod(leading)) + 1
    filler = Filler(regime, dtype, seed, terms)
    outputs = () if vector else (out_features,)
    x, w = filler.operand(*leading, in_features), filler.operand(*outputs, in_features)
    b = filler.addend(*outputs) if bias else None
    labels = {"profile": "vector" if vector else "plain", "regime": regime}
    if functional:
        return Case(Call(layer, {}, {}, dtype, "cpu"), (x, w, b), labels=labels, seed=seed)
    required = {} if layer == "LazyLinear" else {"in_features": in_features}
    required["out_features"] = out_features
    arguments = required | writer.explicit_arguments({"bias": bias}, {"bias": True})
    state = {"weight": w} if b is None else {"weight": w, "bias": b}
    return Case(Call(layer, arguments, state, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def bilinears(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a bilinear layer.

    Args:
        layer: `"Bilinear"` or `"functional.bilinear"`.
    """
    leading = draw(leading_shapes)
    in1, in2, out = draw(few_features), draw(few_features), draw(few_features)
    bias = draw(biases)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = max(in1 * in2, in1 * out, in2 * out, math.prod(leading)) + 1
    filler = Filler(regime, dtype, seed, terms, factors=3)
    x1, x2 = filler.operand(*leading, in1), filler.operand(*leading, in2)
    w = filler.operand(out, in1, in2)
    b = filler.addend(out) if bias else None
    labels = {"profile": "plain", "regime": regime}
    if is_function(layer):
        return Case(Call(layer, {}, {}, dtype, "cpu"), (x1, x2, w, b), labels=labels, seed=seed)
    arguments = {"in1_features": in1, "in2_features": in2, "out_features": out}
    arguments |= writer.explicit_arguments({"bias": bias}, {"bias": True})
    state = {"weight": w} if b is None else {"weight": w, "bias": b}
    return Case(Call(layer, arguments, state, dtype, "cpu"), (x1, x2), labels=labels, seed=seed)
