"""Functions that users write out in operators, and compilers recognise: norms, softmax, gates."""

from __future__ import annotations

import math

from conformance.strategies.network import steps
from conformance.strategies.network.builder import Builder, value_or
from conformance.strategies.network.patterns import Pattern
from hypothesis import strategies as st

_yes_no = st.booleans()
_scales = st.sampled_from((0.5, 2.0, 0.25))


def _scaled(builder: Builder, x: int, factor: float | None = None) -> int:
    """x times a number, or divided by it."""
    name = builder.draw(st.sampled_from(("mul", "div")))
    return builder.add(name, x, builder.draw(_scales) if factor is None else factor)


def _weights(builder: Builder, scores: int) -> int:
    """A softmax of the last axis; exactly: relu."""
    if builder.exact:
        return builder.add("functional.relu", scores)
    return builder.add("functional.softmax", scores, dim=-1)


def norm_in_steps(builder: Builder, x: int) -> int | None:
    """A layer, RMS or L2 norm of the last axis or two, by a quotient or by rsqrt; a weight."""
    shape = builder.shape(x)
    if builder.exact or len(shape) < 2 or shape[-1] < 2:
        return None
    axes = builder.draw(st.sampled_from(((-1,), (-2, -1), (1,))))
    total = builder.draw(st.sampled_from(("mean", "mean", "sum")))
    if builder.draw(_yes_no):
        x = builder.add("sub", x, builder.add("mean", x, dim=axes, keepdim=True))
    squares = builder.add(total, builder.add("square", x), dim=axes, keepdim=True)
    inner = builder.add("add", squares, 1e-5)
    normed = (
        builder.add("div", x, builder.add("sqrt", inner))
        if builder.draw(_yes_no)
        else builder.add("mul", x, builder.add("rsqrt", inner))
    )
    if not builder.nodes_left > 1 or builder.draw(_yes_no):
        return normed
    weight = builder.add("parameter", shape=builder.shape(normed)[-1:])
    return builder.add("mul", normed, weight)


def softmax_in_steps(builder: Builder, x: int) -> int | None:
    """exp(a·x − max a·x), divided by its sum along the same axis."""
    shape = builder.shape(x)
    if builder.exact or not shape or not all(shape):
        return None
    x = _scaled(builder, x) if builder.draw(_yes_no) else x
    axis = builder.draw(st.sampled_from((-1, 0)))
    shifted = builder.add("sub", x, builder.add("amax", x, dim=(axis,), keepdim=True))
    powers = builder.add("exp", shifted)
    return builder.add("div", powers, builder.add("sum", powers, dim=(axis,), keepdim=True))


def activation_in_steps(builder: Builder, x: int) -> int | None:
    """A hard or leaky activation or one with a weight; gelu with tanh, a quotient with exp."""
    kinds = ["hard", "leaky", "weighted"]
    kind = builder.draw(st.sampled_from(kinds if builder.exact else [*kinds, "tanh", "quotient"]))
    if kind == "hard":
        shift = builder.draw(st.sampled_from((3.0, 2.0)))
        cut = builder.add("clamp", builder.add("add", x, shift), min=0.0, max=6.0)
        product = builder.add("mul", cut, x) if builder.draw(_yes_no) else cut
        return builder.add("div", product, 4.0 if builder.exact else 6.0)
    if kind == "leaky":
        slope = builder.draw(st.sampled_from((0.5, 2.0, -0.5)))
        name = builder.draw(st.sampled_from(("maximum", "minimum")))
        return builder.add(name, x, builder.add("mul", x, slope))
    if kind == "weighted":
        positive = builder.add("functional.relu", x)
        rest = builder.add("functional.relu", builder.add("neg", x))
        weight = builder.add("parameter", shape=builder.shape(x)[-1:])
        name = builder.draw(st.sampled_from(("sub", "add")))
        return builder.add(name, positive, builder.add("mul", rest, weight))
    if kind == "quotient":
        powers = builder.add("exp", builder.add("neg", x))
        return builder.add("div", x, builder.add("add", powers, 1.0))
    cube = builder.add("mul", builder.add("square", x), x)
    inner = builder.add("add", x, builder.add("mul", cube, 0.044715))
    factor = builder.draw(st.sampled_from((math.sqrt(2 / math.pi), 0.5)))
    tanh = builder.add("tanh", builder.add("mul", inner, factor))
    return builder.add("mul", builder.add("mul", x, 0.5), builder.add("add", tanh, 1.0))


def biased_activation(builder: Builder, x: int) -> int | None:
    """A parameter added to a value, and gelu, silu or softmax of the sum; gelu also written out."""
    shape = builder.shape(x)
    if not shape or not all(shape):
        return None
    name = builder.draw(st.sampled_from(("functional.gelu", "functional.silu", "softmax", "erf")))
    bias = builder.add("parameter", shape=shape[-builder.draw(st.integers(1, len(shape))) :])
    total = builder.add("add", x, bias)
    if builder.exact:
        return builder.add("functional.relu", total)
    if name == "softmax":
        return builder.add("functional.softmax", total, dim=builder.draw(st.sampled_from((-1, 0))))
    if name != "erf":
        return builder.add(name, total)
    scaled = builder.add("div", total, math.sqrt(2))
    inner = builder.add("add", builder.add("erf", scaled), 1.0)
    return builder.add("mul", builder.add("mul", total, inner), 0.5)


def gated_halves(builder: Builder, x: int) -> int | None:
    """One half of the last or second axis times a function of the other half."""
    shape = builder.shape(x)
    axis = builder.draw(st.sampled_from((len(shape) - 1, 1)))
    if not 0 <= axis < len(shape) or shape[axis] < 2:
        return None
    half, before = shape[axis] // 2, ((None, None, None),) * axis
    parts = [
        builder.add("index", x, slices=(*before, (start, start + half, None)))
        for start in (0, half)
    ]
    first, second = parts if builder.draw(_yes_no) else parts[::-1]
    return builder.add("mul", first, value_or(steps.elementwise(builder, second), second))


def gated_layers(builder: Builder, x: int) -> int | None:
    """Two linear layers of one value: a function of one times the other, or their sum."""
    shape = builder.shape(x)
    if not shape or not shape[-1]:
        return None
    options = {
        "in_features": shape[-1],
        "out_features": builder.draw(st.sampled_from((2, 1, 4, 16))),
        "bias": builder.draw(_yes_no),
    }
    others = builder.values(lambda y: y == shape)
    first = builder.add("Linear", x, **options)
    second = builder.add("Linear", builder.draw(st.sampled_from(others)), **options)
    if builder.draw(_yes_no):
        return builder.add("add", first, second)
    return builder.add("mul", value_or(steps.elementwise(builder, first), first), second)


def masked_attention(builder: Builder, x: int) -> int | None:
    """softmax(q·kᵀ·s + mask)·v of values of one shape, with the mask, or with s, in any order."""
    shape = builder.shape(x)
    if len(shape) < 2 or not all(shape) or len(shape) > 4:
        return None
    others = st.sampled_from(builder.values(lambda y: y == shape))
    key, value = builder.draw(others), builder.draw(others)
    before = builder.draw(_yes_no)
    query = _scaled(builder, x) if before else x
    scores = builder.add("matmul", query, builder.add("transpose", key, dim0=-2, dim1=-1))
    scores = scores if before else _scaled(builder, scores)
    if builder.draw(_yes_no):
        mask = builder.add("parameter", shape=builder.shape(scores)[-2:])
        scores = builder.add("add", scores, mask)
    return builder.add("matmul", _weights(builder, scores), value)


def attention_of_heads(builder: Builder, x: int) -> int | None:
    """Heads made by reshape and permute, attention, and the heads joined again."""
    shape = builder.shape(x)
    if len(shape) != 3 or not all(shape):
        return None
    batch, length, width = shape
    count = builder.draw(st.sampled_from((1, 2, width)))
    if width % count:
        return None
    heads = builder.add("reshape", x, shape=(batch, length, count, width // count))
    query = builder.add("permute", heads, dims=(0, 2, 1, 3))
    key = builder.add("permute", heads, dims=(0, 2, 3, 1))
    scores = _scaled(builder, builder.add("matmul", query, key))
    if builder.draw(_yes_no):
        mask = builder.add("parameter", shape=(length, length))
        scores = builder.add("add", scores, mask)
    mixed = builder.add("matmul", _weights(builder, scores), query)
    joined = builder.add("permute", mixed, dims=(0, 2, 1, 3))
    return builder.add("reshape", joined, shape=shape)


def turned_halves(builder: Builder, x: int) -> int | None:
    """x·c + (−x₂, x₁)·s with the halves x₁ and x₂ of the last axis: a rotary embedding."""
    shape = builder.shape(x)
    if not shape or shape[-1] < 2 or shape[-1] % 2:
        return None
    half, before = shape[-1] // 2, ((None, None, None),) * (len(shape) - 1)
    first = builder.add("index", x, slices=(*before, (None, half, None)))
    second = builder.add("neg", builder.add("index", x, slices=(*before, (half, None, None))))
    turned = builder.add("cat", second, first, dim=len(shape) - 1)
    cosine, sine = (builder.add("parameter", shape=shape[-2:]) for _ in range(2))
    return builder.add("add", builder.add("mul", x, cosine), builder.add("mul", turned, sine))


def normed_residual(builder: Builder, x: int) -> int | None:
    """A norm of a sum, and the sum itself behind it."""
    shape = builder.shape(x)
    others = st.sampled_from(builder.values(lambda y: y == shape))
    total = builder.add("add", x, builder.draw(others))
    if builder.draw(_yes_no) and shape:
        total = builder.add("add", total, builder.add("parameter", shape=shape[-1:]))
    normed = steps.norm(builder, total)
    if normed is None or builder.draw(_yes_no):
        return normed
    return builder.add("sub", total, normed)


WRITTEN: tuple[tuple[Pattern, int], ...] = (
    *((norm_in_steps, 9), (softmax_in_steps, 6), (activation_in_steps, 8), (gated_halves, 4)),
    *((biased_activation, 7), (gated_layers, 4), (masked_attention, 7), (turned_halves, 9)),
    *((attention_of_heads, 11), (normed_residual, 5)),
)
"""Each with the most nodes that it adds."""
