"""Operators in a row that compilers cancel, join, or exchange with each other."""

from __future__ import annotations

import math

from conformance.strategies.network import steps
from conformance.strategies.network.around import AROUND
from conformance.strategies.network.builder import Builder, value_or
from conformance.strategies.network.patterns import BLOCKS, Pattern
from conformance.strategies.network.written import WRITTEN
from hypothesis import strategies as st

_yes_no = st.booleans()
_functions = st.sampled_from((steps.elementwise, steps.scalar, steps.clamp))
_moves = st.sampled_from(
    (steps.permute, steps.index, steps.reshape, steps.flip, steps.transpose, steps.unsqueeze,
     steps.squeeze, steps.select)
)  # fmt: skip
# Of these a difference alone is not associative.
_sums = st.sampled_from(("sub", "add", "mul", "sub"))
_extremes = st.sampled_from(("maximum", "minimum"))
_numbers = st.sampled_from((2.0, -1.0, 3.0, 0.5))
_NON_MONOTONE = ("functional.silu", "functional.gelu", "functional.hardswish", "functional.mish")
_EXACT_NON_MONOTONE = ("abs", "square", "neg")


def chained_functions(builder: Builder, x: int) -> int | None:
    """Two or three functions of single numbers, which may be joined or change places."""
    function = builder.draw(_functions)
    for _ in range(builder.draw(st.integers(2, 3))):
        x = value_or(function(builder, x), x)
        if builder.draw(_yes_no):
            function = builder.draw(_functions)
    return x


def chained_moves(builder: Builder, x: int) -> int | None:
    """Two or three moves, which may be composed."""
    for _ in range(builder.draw(st.integers(2, 3))):
        moved = builder.draw(_moves)(builder, x)
        x = x if moved is None else moved
    return x


def reduced_function(builder: Builder, x: int) -> int | None:
    """A reduction behind a function, which may be exchanged if the function is monotone."""
    return steps.reduce(builder, value_or(builder.draw(_functions)(builder, x), x))


def joined_and_split(builder: Builder, x: int) -> int | None:
    """A concatenation, of which a part is taken that crosses the seam, or is one operand."""
    shape = builder.shape(x)
    if not shape or shape[-1] < 2 or 2 * math.prod(shape) > 256:
        return None
    second = steps.elementwise(builder, x)
    assert second is not None
    joined = builder.add("cat", x, second, dim=len(shape) - 1)
    start = builder.draw(st.sampled_from((0, 1, shape[-1])))
    part = (start, start + shape[-1], None)
    return builder.add("index", joined, slices=(*[(None, None, None)] * (len(shape) - 1), part))


def cancelling_moves(builder: Builder, x: int) -> int | None:
    """A permutation, an elementwise function, and the inverse permutation or another."""
    axes = tuple(builder.draw(st.permutations(range(len(builder.shape(x))))))
    back = tuple(axes.index(k) for k in range(len(axes)))
    moved = steps.elementwise(builder, builder.add("permute", x, dims=axes))
    assert moved is not None
    return builder.add("permute", moved, dims=back if builder.draw(_yes_no) else axes)


def reduced_and_spread(builder: Builder, x: int) -> int | None:
    """A maximum along an axis, maybe of size 1, that broadcasts against its operand."""
    shape = builder.shape(x)
    axis = builder.draw(st.integers(0, 3))
    if axis >= len(shape) or not shape[axis]:
        return None
    return builder.add("sub", x, builder.add("amax", x, dim=(axis,), keepdim=True))


def composed_permutations(builder: Builder, x: int) -> int | None:
    """Two permutations, which compose in one order."""
    if len(builder.shape(x)) < 3:
        return None
    return steps.permute(builder, value_or(steps.permute(builder, x), x))


def chained_slices(builder: Builder, x: int) -> int | None:
    """Two slices of one axis."""
    shape = builder.shape(x)
    if not shape or shape[-1] < 3:
        return None
    before = ((None, None, None),) * (len(shape) - 1)
    for _ in range(2):
        part = builder.draw(st.sampled_from(((1, None, None), (None, None, 2), (None, -1, None))))
        x = builder.add("index", x, slices=(*before, part))
    return x


def moved_signs(builder: Builder, x: int) -> int | None:
    """A sign in front of a function that is not odd."""
    kind = builder.draw(st.sampled_from(("neg", "mul", "sub")))
    if kind == "sub":
        shape = builder.shape(x)
        others = builder.values(lambda y: y == shape)
        turned = builder.add("sub", x, builder.draw(st.sampled_from(others)))
        return builder.add("neg", turned)
    turned = builder.add("mul", x, -2.0) if kind == "mul" else builder.add("neg", x)
    if builder.draw(_yes_no):
        return builder.add("functional.relu", turned)
    shape, axis = builder.shape(x), builder.draw(st.integers(0, 3))
    if axis >= len(shape) or not shape[axis]:
        return turned
    return builder.add("amax", turned, dim=(axis,), keepdim=True)


def alike_calls(builder: Builder, x: int) -> int | None:
    """Two calls of one operator on one value that differ in their arguments only, combined."""
    shape = builder.shape(x)
    if len(shape) < 2 or not all(shape):
        return None
    last = len(shape) - 1
    name = builder.draw(st.sampled_from(("sum", "amax", "flip", "clamp")))
    if name == "flip":
        pair = [builder.add(name, x, dims=(axis,)) for axis in (last - 1, last)]
    elif name == "clamp":
        pair = [builder.add(name, x, min=-1.0, max=end) for end in (0.5, 2.0)]
    else:
        pair = [builder.add(name, x, dim=(axis,), keepdim=True) for axis in (last - 1, last)]
    return builder.add("sub", *pair)


def repeated_function(builder: Builder, x: int) -> int | None:
    """One function twice, or relu behind a function that looks as if it were never negative."""
    if builder.draw(_yes_no):
        names = _EXACT_NON_MONOTONE if builder.exact else _NON_MONOTONE
        inner = builder.add(builder.draw(st.sampled_from(names)), x)
        return builder.add("functional.relu", inner)
    first = steps.elementwise(builder, x)
    assert first is not None
    target, arguments, _ = builder.nodes[first]
    return builder.add(str(target), first, **dict(arguments))


def scaled_shift(builder: Builder, x: int) -> int | None:
    """(x + c) · d, or x · c + d."""
    first = builder.draw(st.sampled_from(("add", "mul")))
    inner = builder.add(first, x, builder.draw(_numbers))
    return builder.add("mul" if first == "add" else "add", inner, builder.draw(_numbers))


def extreme_of_function(builder: Builder, x: int) -> int | None:
    """The maximum of a function that is not monotone."""
    shape, axis = builder.shape(x), builder.draw(st.integers(0, 3))
    if axis >= len(shape) or not shape[axis]:
        return None
    names = _EXACT_NON_MONOTONE if builder.exact else _NON_MONOTONE
    inner = builder.add(builder.draw(st.sampled_from(names)), x)
    return builder.add("amax", inner, dim=(axis,), keepdim=builder.draw(_yes_no))


def nested_sums(builder: Builder, x: int) -> int | None:
    """a − (b − c), and other sums and products of three values of one shape."""
    shape = builder.shape(x)
    others = st.sampled_from(builder.values(lambda y: y == shape))
    inner = builder.add(builder.draw(_sums), x, builder.draw(others))
    pair = (inner, builder.draw(others))
    return builder.add(builder.draw(_sums), *(pair if builder.draw(_yes_no) else pair[::-1]))


def common_factor(builder: Builder, x: int) -> int | None:
    """The larger or smaller of two products with one number, which may be negative."""
    shape = builder.shape(x)
    other = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    factor = builder.draw(st.sampled_from((2.0, -1.0, -2.0)))
    first = builder.add("neg", x) if factor == -1 else builder.add("mul", x, factor)
    second = builder.add("neg", other) if factor == -1 else builder.add("mul", other, factor)
    return builder.add(builder.draw(_extremes), first, second)


def reshaped_permutation(builder: Builder, x: int) -> int | None:
    """A permutation, and a reshape that makes its order the order in memory."""
    return steps.reshape(builder, value_or(steps.permute(builder, x), x))


def permuted_reduction(builder: Builder, x: int) -> int | None:
    """A permutation, a function, and a reduction or softmax along an axis."""
    moved = steps.permute(builder, x)
    if moved is None or not builder.shape(moved):
        return None
    if builder.exact or builder.draw(_yes_no):
        return steps.reduce(builder, moved)
    return builder.add("functional.softmax", moved, dim=-1)


def double_flip(builder: Builder, x: int) -> int | None:
    """Two flips, of the same axis or of others."""
    return steps.flip(builder, value_or(steps.flip(builder, x), x))


def joined_slices(builder: Builder, x: int) -> int | None:
    """Two parts of a value that lie side by side, in either order, one after the other."""
    shape = builder.shape(x)
    if not shape or shape[-1] < 2:
        return None
    before = ((None, None, None),) * (len(shape) - 1)
    first = builder.add("index", x, slices=(*before, (0, 1, None)))
    second = builder.add("index", x, slices=(*before, (1, shape[-1], None)))
    pair = (first, second) if builder.draw(_yes_no) else (second, first)
    return builder.add("cat", *pair, dim=len(shape) - 1)


def mean_of_joined(builder: Builder, x: int) -> int | None:
    """A mean along the seam of a concatenation of parts of other sizes."""
    shape = builder.shape(x)
    if not shape or not shape[-1] or 3 * math.prod(shape) > 256:
        return None
    joined = builder.add("cat", builder.add("cat", x, x, dim=len(shape) - 1),
                         builder.add("neg", x), dim=len(shape) - 1)  # fmt: skip
    return builder.add("amax" if builder.exact else "mean", joined, dim=(len(shape) - 1,),
                       keepdim=True)  # fmt: skip


def reduced_expansion(builder: Builder, x: int) -> int | None:
    """A sum or softmax along an axis that was expanded from size 1, or along another."""
    shape, axis = builder.shape(x), builder.draw(st.integers(0, 3))
    if axis >= len(shape) or not all(shape) or 3 * math.prod(shape) > 256:
        return None
    thin = builder.add("amax", x, dim=(axis,), keepdim=True)
    spread = builder.add("expand", thin, size=(*shape[:axis], 3, *shape[axis + 1 :]))
    along = builder.draw(st.sampled_from((axis, axis, 0)))
    if builder.exact or builder.draw(_yes_no):
        return builder.add("sum", spread, dim=(along,), keepdim=builder.draw(_yes_no))
    return builder.add("functional.softmax", spread, dim=along)


def identity_operand(builder: Builder, x: int) -> int | None:
    """A layer that does nothing in front of the second operand of a difference or a join."""
    shape = builder.shape(x)
    other = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    identity = steps.identity(builder, other)
    assert identity is not None
    if not shape or 2 * math.prod(shape) > 256 or builder.draw(_yes_no):
        return builder.add("sub", x, identity)
    return builder.add("cat", x, identity, dim=0)


PATTERNS: tuple[tuple[Pattern, int], ...] = (
    *(*BLOCKS, *WRITTEN, *AROUND),
    *((chained_functions, 3), (chained_moves, 3), (reduced_function, 2), (cancelling_moves, 3)),
    *((joined_and_split, 3), (reduced_and_spread, 2), (composed_permutations, 2)),
    *((chained_slices, 2), (moved_signs, 2), (alike_calls, 3), (repeated_function, 2)),
    *((nested_sums, 2), (common_factor, 3), (reshaped_permutation, 2), (permuted_reduction, 2)),
    *((double_flip, 2), (joined_slices, 3), (mean_of_joined, 4), (reduced_expansion, 3)),
    *((identity_operand, 2), (scaled_shift, 2), (extreme_of_function, 2)),
)
"""All patterns, each with the most nodes that it adds."""

_OF_IMAGES = (
    *("folded_norm", "padded_window", "activated_layer", "norm_before_layer", "padded_and_cut"),
    *("normed_activation", "layer_and_parameter", "summed_layers", "separable_convolution"),
    *("space_to_depth", "padded_window"),
)
IMAGE_PATTERNS = tuple(
    next(pair for pair in PATTERNS if pair[0].__name__ == name) for name in _OF_IMAGES
)
"""Those of convolutions and poolings, which only an image may have."""
