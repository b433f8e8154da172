"""Blocks of layers and functions that compilers recognise and fuse."""

from __future__ import annotations

import math
from collections.abc import Callable

from conformance.strategies.network import steps
from conformance.strategies.network.builder import Builder, value_or
from hypothesis import strategies as st

Pattern = Callable[[Builder, int], int | None]
_yes_no = st.booleans()
_EXACT_ACTIVATIONS = ("functional.relu", "clamp", "functional.relu6", "functional.leaky_relu")
_exact_activations = st.sampled_from(_EXACT_ACTIVATIONS)
_activations = st.sampled_from(
    (*_EXACT_ACTIVATIONS, "functional.gelu", "functional.silu", "functional.hardswish")
)
_ACTIVATION_ARGUMENTS = {
    "clamp": {"min": -1.0, "max": 2.0},
    "functional.leaky_relu": {"negative_slope": 0.5},
}
_functions = st.sampled_from((steps.elementwise, steps.scalar, steps.clamp))


def _activation(builder: Builder, x: int) -> int:
    name = builder.draw(_exact_activations if builder.exact else _activations)
    return builder.add(name, x, **_ACTIVATION_ARGUMENTS.get(name, {}))


def any_layer(builder: Builder, x: int) -> int | None:
    """A convolution of an image, or else a linear layer."""
    layer = steps.convolution(builder, x)
    return steps.linear(builder, x) if layer is None else layer


def folded_norm(builder: Builder, x: int) -> int | None:
    """A convolution or linear layer, a batch norm, maybe a residual, an activation."""
    if len(builder.shape(x)) not in (2, 4):
        return None
    layer = any_layer(builder, x)
    normed = None if layer is None else steps.batch_norm(builder, layer)
    if normed is None:
        return None
    shape = builder.shape(normed)
    if builder.draw(_yes_no):
        others = [k for k in builder.values(lambda y: y == shape) if k != normed]
        if others:
            normed = builder.add("add", normed, builder.draw(st.sampled_from(others)))
    return _activation(builder, normed)


def activated_layer(builder: Builder, x: int) -> int | None:
    """A linear layer or convolution with an activation behind it."""
    layer = any_layer(builder, x)
    return None if layer is None else _activation(builder, layer)


def normed_activation(builder: Builder, x: int) -> int | None:
    """A batch norm behind an activation, which may not change places with it."""
    return steps.batch_norm(builder, _activation(builder, x))


def norm_before_layer(builder: Builder, x: int) -> int | None:
    """A batch norm in front of a convolution, whose padding it does not reach, or a linear one."""
    normed = steps.batch_norm(builder, x)
    if normed is None:
        return None
    return any_layer(builder, normed)


def padded_window(builder: Builder, x: int) -> int | None:
    """Padding before a convolution or pooling, which may take it over."""
    if len(builder.shape(x)) != 4:
        return None
    padded = builder.add("functional.pad", x, pad=(1, 1, 1, 1))
    window: Pattern = builder.draw(st.sampled_from((steps.pool, steps.convolution)))
    return window(builder, padded)


def reused_value(builder: Builder, x: int) -> int | None:
    """A value that an activation takes, and another node behind it."""
    value = builder.draw(_functions)(builder, x)
    if value is None:
        return None
    activated = _activation(builder, value)
    name = builder.draw(st.sampled_from(("sub", "mul", "maximum")))
    return builder.add(name, value, activated)


def gate(builder: Builder, x: int) -> int | None:
    """x · sigmoid(x), or x · sigmoid(2·x), written out; exactly: relu in place of sigmoid."""
    operand = builder.add("mul", x, 2.0) if builder.draw(_yes_no) else x
    slope = builder.add("functional.relu" if builder.exact else "sigmoid", operand)
    return builder.add("mul", x, slope)


def written_gelu(builder: Builder, x: int) -> int | None:
    """x/2 · (1 + erf(x/√2)), written out."""
    if builder.exact:
        return None
    inner = builder.add("add", builder.add("erf", builder.add("mul", x, 1 / math.sqrt(2))), 1.0)
    return builder.add("mul", builder.add("mul", x, 0.5), inner)


def written_norm(builder: Builder, x: int) -> int | None:
    """(x − E[x]) / √(Var[x] + ε) of the last axis, written out; exactly: x − E[x]."""
    shape = builder.shape(x)
    if not shape or shape[-1] < 2 or (builder.exact and shape[-1].bit_count() != 1):
        return None
    centred = builder.add("sub", x, builder.add("mean", x, dim=(-1,), keepdim=True))
    if builder.exact:
        return centred
    squares = builder.add("mean", builder.add("square", centred), dim=(-1,), keepdim=True)
    return builder.add("mul", centred, builder.add("rsqrt", builder.add("add", squares, 1e-5)))


def attention(builder: Builder, x: int) -> int | None:
    """softmax(q·kᵀ/√d)·v written out; exactly: relu in place of the softmax."""
    shape = builder.shape(x)
    if len(shape) not in (2, 3) or not shape[-1]:
        return None
    width = shape[-1]
    options = {"in_features": width, "out_features": 4, "bias": False}
    query, key = builder.add("Linear", x, **options), builder.add("Linear", x, **options)
    scores = builder.add("matmul", query, builder.add("transpose", key, dim0=-2, dim1=-1))
    scaled = builder.add("mul", scores, builder.draw(st.sampled_from((0.5, 1.0, 0.25))))
    weights = (
        builder.add("functional.relu", scaled)
        if builder.exact
        else builder.add("functional.softmax", scaled, dim=-1)
    )
    return builder.add("matmul", weights, x)


def residual(builder: Builder, x: int) -> int | None:
    """x + a(f(x)) or a(x + f(x)), with f a linear layer that keeps the width, a an activation."""
    shape = builder.shape(x)
    if not shape or not shape[-1]:
        return None
    inner = builder.add("Linear", x, in_features=shape[-1], out_features=shape[-1])
    if builder.draw(_yes_no):
        return _activation(builder, builder.add("add", inner, x))
    return builder.add("add", _activation(builder, inner), x)


def constant_branch(builder: Builder, x: int) -> int | None:
    """A function of parameters only, which may be computed beforehand, added to a value."""
    shape = builder.shape(x)
    parameter = builder.add("parameter", shape=shape[-1:])
    folded = value_or(builder.draw(_functions)(builder, parameter), parameter)
    if builder.draw(_yes_no):
        folded = builder.add("mul", folded, 2.0)
    return builder.add(builder.draw(st.sampled_from(("add", "mul"))), x, folded)


def shared_layer(builder: Builder, x: int) -> int | None:
    """One linear layer called twice: with an activation in between, or on two values, added."""
    shape = builder.shape(x)
    if not shape or not shape[-1]:
        return None
    first = builder.add("Linear", x, in_features=shape[-1], out_features=shape[-1])
    if builder.draw(_yes_no):
        other = value_or(builder.draw(_functions)(builder, x), x)
        second = builder.again(first, other)
        first = builder.add("mul", first, 2.0) if builder.draw(_yes_no) else first
        return builder.add("add", first, second)
    return builder.again(first, _activation(builder, first))


def scaled_norm(builder: Builder, x: int) -> int | None:
    """A norm of a sum or product with a number."""
    return steps.norm(builder, value_or(steps.scalar(builder, x), x))


def parameter_product(builder: Builder, x: int) -> int | None:
    """The product with a square matrix of parameters."""
    shape = builder.shape(x)
    if len(shape) < 2 or not shape[-1]:
        return None
    return builder.add("matmul", x, builder.add("parameter", shape=(shape[-1], shape[-1])))


def viewed_and_used(builder: Builder, x: int) -> int | None:
    """A part of a value, or the value in another order, activated; then the value itself."""
    base = builder.draw(_functions)(builder, x)
    if base is None:
        return None
    view = builder.draw(
        st.sampled_from((steps.identity, steps.permute, steps.reshape, steps.index))
    )(builder, base)
    activated = builder.add("functional.relu", base if view is None else view)
    total = builder.add("sum", activated, dim=tuple(range(len(builder.shape(activated)))))
    return builder.add("sub", base, total)


def linear_chain(builder: Builder, x: int) -> int | None:
    """Two linear layers without an activation in between."""
    inner = steps.linear(builder, x)
    return None if inner is None else steps.linear(builder, inner)


BLOCKS: tuple[tuple[Pattern, int], ...] = (
    # What every compiler fuses comes twice.
    *((folded_norm, 4), (folded_norm, 4), (attention, 7), (attention, 7), (activated_layer, 2)),
    *((residual, 3), (gate, 3), (norm_before_layer, 2), (written_norm, 7), (written_gelu, 5)),
    *((padded_window, 2), (padded_window, 2), (constant_branch, 4), (constant_branch, 4)),
    (shared_layer, 5),
    *((normed_activation, 2), (linear_chain, 2), (reused_value, 3), (scaled_norm, 2)),
    *((parameter_product, 2), (viewed_and_used, 5), (viewed_and_used, 5)),
)
"""Each with the most nodes that it adds."""
