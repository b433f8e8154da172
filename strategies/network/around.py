"""Operators that compilers move past others, fold into a layer, or compute beforehand."""

from __future__ import annotations

import math
from itertools import permutations

from conformance.strategies.network import steps
from conformance.strategies.network.builder import MAX_ELEMENTS, Builder, Shape, value_or
from conformance.strategies.network.patterns import Pattern, any_layer
from hypothesis import strategies as st

_yes_no = st.booleans()
_one_in_four = st.integers(0, 3).map(lambda n: n == 3)
_numbers = st.sampled_from((2.0, -1.0, 0.5))
_neutral = st.sampled_from(
    (("add", 0.0), ("sub", 0.0), ("mul", 1.0), ("div", 1.0), ("mul", 0.0), ("sub", 1.0))
)
_pads = st.sampled_from(((1, 1), (1, 0), (0, 2), (1, 1, 1, 1), (0, 1, 2, 0)))
_pad_values = st.sampled_from((0.0, 0.0, 1.0))


def _parameter(builder: Builder, shape: Shape) -> int:
    """A parameter that broadcasts against a shape: of one axis, of channels, or of all."""
    forms: list[Shape] = [shape[-1:], shape, (1,)]
    if len(shape) > 1:
        ones = (1,) * (len(shape) - 2)
        channels = [(shape[1], *ones), (1, shape[1], *ones)]
        forms = [*channels, *forms, *channels, (shape[0], 1, *ones)]
    return builder.add("parameter", shape=builder.draw(st.sampled_from(forms)))


def _pad(builder: Builder, x: int) -> int | None:
    pads = builder.draw(_pads)
    if len(builder.shape(x)) < len(pads) // 2:
        return None
    return builder.add("functional.pad", x, pad=pads, value=builder.draw(_pad_values))


def _softmax(builder: Builder, x: int) -> int | None:
    shape = builder.shape(x)
    if builder.exact or not shape or not all(shape):
        return None
    return builder.add("functional.softmax", x, dim=builder.draw(st.integers(0, len(shape) - 1)))


def _with_parameter(builder: Builder, x: int) -> int | None:
    shape = builder.shape(x)
    if not shape:
        return None
    name = builder.draw(st.sampled_from(("add", "mul", "sub")))
    result = builder.add(name, x, _parameter(builder, shape))
    # A parameter of other axes would have made the result larger.
    return result if builder.shape(result) == shape else x


_MIDDLE: tuple[Pattern, ...] = (
    _pad, steps.index, steps.reduce, _softmax, _with_parameter, steps.concatenate, steps.unsqueeze,
    steps.squeeze, steps.select, steps.flip, steps.convolution, steps.pool, steps.linear,
    steps.batch_norm, steps.norm, steps.matmul, steps.combine,
)  # fmt: skip
_middle = st.sampled_from(_MIDDLE)


def moved_around(builder: Builder, x: int) -> int | None:
    """A permutation, one or two operators that depend on the axes, the inverse permutation."""
    rank = len(builder.shape(x))
    if rank < 2:
        return None
    axes = tuple(builder.draw(st.permutations(range(rank))))
    value = builder.add("permute", x, dims=axes)
    for _ in range(builder.draw(st.integers(1, 2))):
        value = value_or(builder.draw(_middle)(builder, value), value)
    if len(builder.shape(value)) != rank or not builder.nodes_left:
        return value
    back = tuple(axes.index(k) for k in range(rank))
    return builder.add("permute", value, dims=back if builder.draw(_yes_no) else axes)


def reshaped_around(builder: Builder, x: int) -> int | None:
    """A reshape, an operator that depends on the axes, and the first shape again if it fits."""
    shape = builder.shape(x)
    value = value_or(builder.draw(st.sampled_from((steps.reshape, steps.unsqueeze)))(builder, x), x)
    value = value_or(builder.draw(_middle)(builder, value), value)
    if math.prod(builder.shape(value)) != math.prod(shape) or not builder.nodes_left:
        return value
    return builder.add("reshape", value, shape=shape)


def padded_and_cut(builder: Builder, x: int) -> int | None:
    """Padding, maybe twice, and a part, a window or a reduction of the result."""
    padded = _pad(builder, x)
    if padded is None:
        return None
    if builder.draw(_yes_no):
        padded = value_or(_pad(builder, padded), padded)
    kinds = (steps.index, steps.pool, steps.convolution, steps.reduce)
    return value_or(builder.draw(st.sampled_from(kinds))(builder, padded), padded)


def layer_and_parameter(builder: Builder, x: int) -> int | None:
    """A linear layer, convolution or product, and a parameter added, multiplied or subtracted."""
    layer = any_layer(builder, x)
    if layer is None or builder.draw(_one_in_four):
        layer = steps.matmul(builder, x)
    if layer is None:
        return None
    name = builder.draw(st.sampled_from(("mul", "add", "sub")))
    shape = builder.shape(layer)
    pair = (layer, _parameter(builder, shape))
    total = builder.add(name, *(pair if builder.draw(_yes_no) else pair[::-1]))
    activated = builder.draw(_yes_no) and builder.nodes_left
    return value_or(steps.elementwise(builder, total), total) if activated else total


def summed_layers(builder: Builder, x: int) -> int | None:
    """Two convolutions, linear layers or poolings, added or joined; an activation or a norm."""
    kind = builder.draw(st.sampled_from((steps.convolution, steps.linear, steps.pool)))
    first = kind(builder, x)
    if first is None:
        return None
    shape = builder.shape(first)
    second = value_or(kind(builder, x), first)
    if builder.shape(second) != shape or builder.draw(_yes_no):
        second = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    if len(shape) > 1 and builder.draw(_yes_no) and 2 * math.prod(shape) <= MAX_ELEMENTS:
        total = builder.add("cat", first, second, dim=1)
    else:
        total = builder.add("add", first, second)
    behind = (steps.elementwise, steps.batch_norm, steps.convolution, steps.pool)
    return value_or(builder.draw(st.sampled_from(behind))(builder, total), total)


def separable_convolution(builder: Builder, x: int) -> int | None:
    """Two convolutions, a function between them, and one behind them."""
    first = steps.convolution(builder, x)
    if first is None:
        return None
    between = value_or(steps.elementwise(builder, first), first) if builder.draw(_yes_no) else first
    second = value_or(steps.convolution(builder, between), between)
    return value_or(steps.elementwise(builder, second), second)


def moved_product(builder: Builder, x: int) -> int | None:
    """The product of two values of one shape, each permuted or scaled, and the result scaled."""
    shape = builder.shape(x)
    if not 2 <= len(shape) <= 4 or math.prod(shape) > 128:
        return None
    second = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    axes = tuple(builder.draw(st.permutations(range(len(shape)))))
    left = [shape[k] for k in axes]
    fitting = [
        other
        for other in permutations(range(len(shape)))
        if [shape[k] for k in other[:-2]] == left[:-2] and shape[other[-2]] == left[-1]
    ]
    first = builder.add("permute", x, dims=axes)
    second = builder.add("permute", second, dims=builder.draw(st.sampled_from(fitting)))
    if builder.draw(_yes_no):
        first = builder.add("mul", first, builder.draw(_numbers))
    product = builder.add("matmul", first, second)
    kind = builder.draw(st.sampled_from(("", "div", "transpose")))
    if kind == "div":
        return builder.add("div", product, builder.draw(_numbers))
    return value_or(steps.transpose(builder, product), product) if kind else product


def neutral_number(builder: Builder, x: int) -> int | None:
    """A number that changes nothing, or does on the other side, and a function behind it."""
    name, number = builder.draw(_neutral)
    swapped = builder.draw(_yes_no) and name != "div"
    value = builder.add(name, *((number, x) if swapped else (x, number)))
    if builder.draw(_yes_no):
        return value
    return value_or(steps.elementwise(builder, value), value)


def quotient(builder: Builder, x: int) -> int | None:
    """(1/x)·y, x·a/b, x/y of values of one shape; exactly: by numbers."""
    if builder.exact or builder.draw(_yes_no):
        name = builder.draw(st.sampled_from(("mul", "div")))
        inner = builder.add(name, x, builder.draw(_numbers))
        return builder.add("div", inner, builder.draw(_numbers))
    shape = builder.shape(x)
    other = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    # A divisor that is far from 0.
    divisor = builder.add("add", builder.add("square", other), 1.0)
    if builder.draw(_yes_no):
        return builder.add("div", x, divisor)
    return builder.add("mul", builder.add("div", 1.0, divisor), x)


def space_to_depth(builder: Builder, x: int) -> int | None:
    """Every second row and column, from both starts, joined as channels."""
    shape = builder.shape(x)
    if len(shape) != 4 or shape[2] % 2 or shape[3] % 2 or not math.prod(shape):
        return None
    whole = (None, None, None)
    parts = [
        builder.add("index", x, slices=(whole, whole, (row, None, 2), (column, None, 2)))
        for row, column in builder.draw(st.permutations(((0, 0), (1, 0), (0, 1), (1, 1))))
    ]
    return builder.add("cat", *parts, dim=1)


def shuffled_channels(builder: Builder, x: int) -> int | None:
    """Channels in groups, the groups exchanged with their members, and one axis again."""
    shape = builder.shape(x)
    if len(shape) < 2 or shape[1] < 4 or shape[1] % 2:
        return None
    grouped = (shape[0], 2, shape[1] // 2, *shape[2:])
    axes = builder.draw(st.sampled_from(((0, 2, 1), (0, 1, 2), (1, 2, 0))))
    moved = builder.add("permute", builder.add("reshape", x, shape=grouped),
                        dims=(*axes, *range(3, len(grouped))))  # fmt: skip
    return builder.add("reshape", moved, shape=shape)


def nested_reductions(builder: Builder, x: int) -> int | None:
    """A reduction of a reduction, maybe with an axis more or another order in between."""
    inner = steps.reduce(builder, x)
    if inner is None:
        return None
    kinds = (steps.identity, steps.permute, steps.unsqueeze, steps.scalar, steps.reshape)
    if builder.draw(_yes_no):
        inner = value_or(builder.draw(st.sampled_from(kinds))(builder, inner), inner)
    return value_or(steps.reduce(builder, inner), inner)


def joined_layers(builder: Builder, x: int) -> int | None:
    """Linear layers of one value, joined; and a part of the whole."""
    shape = builder.shape(x)
    if not shape or not shape[-1]:
        return None
    bias = builder.draw(_yes_no)
    layers = [
        builder.add("Linear", x, in_features=shape[-1], out_features=2, bias=bias)
        for _ in range(builder.draw(st.integers(2, 3)))
    ]
    joined = builder.add("cat", *layers, dim=len(shape) - 1)
    return steps.index(builder, joined) if builder.draw(_yes_no) else joined


AROUND: tuple[tuple[Pattern, int], ...] = (
    *((moved_around, 8), (moved_around, 8), (reshaped_around, 5), (padded_and_cut, 3)),
    *(
        (layer_and_parameter, 5),
        (layer_and_parameter, 5),
        (summed_layers, 4),
        (separable_convolution, 4),
    ),
    *((moved_product, 5), (neutral_number, 2), (quotient, 4), (space_to_depth, 5)),
    *((shuffled_channels, 3), (nested_reductions, 3), (joined_layers, 5)),
)
"""Each with the most nodes that it adds."""
