"""Single nodes: what may follow a value of a shape."""

from __future__ import annotations

import math
from collections.abc import Callable

from conformance.strategies.network.builder import MAX_ELEMENTS, Builder, Shape
from hypothesis import strategies as st

Step = Callable[[Builder, int], int | None]
"""Builder, value → the number of the new node; None if nothing of the kind fits."""

_widths = st.sampled_from((1, 2, 3, 4))
MANY_CHANNELS = 8
"""Kernels of images keep channels in blocks of 8 or 16 if there are as many."""
_wide_channels = st.sampled_from((8, 16, 17, 4))
_kernels = st.sampled_from((1, 2, 3))
_axes = st.integers(0, 3)
_numbers = st.sampled_from((2.0, 0.5, -1.0, 3.0, 1.0))
_yes_no = st.booleans()
_paddings = st.sampled_from(((1, 0), (1, 1, 0, 2)))
_ELEMENTWISE = (
    "functional.relu", "neg", "abs", "functional.hardtanh", "functional.relu6",
    "functional.leaky_relu",
)  # fmt: skip
_ROUNDING = (
    "functional.gelu", "functional.silu", "sigmoid", "tanh", "functional.softplus",
    "functional.hardswish", "functional.elu", "functional.mish", "erf",
)  # fmt: skip
_exact_functions = st.sampled_from(_ELEMENTWISE)
_functions = st.sampled_from((*_ELEMENTWISE, *_ROUNDING))
_binary = st.sampled_from(("add", "sub", "mul", "maximum", "minimum"))


def elementwise(builder: Builder, x: int) -> int | None:
    """A function of single numbers."""
    name = builder.draw(_exact_functions if builder.exact else _functions)
    if name == "functional.leaky_relu":
        return builder.add(name, x, negative_slope=0.5)
    return builder.add(name, x)


def scalar(builder: Builder, x: int) -> int | None:
    """A sum or product with a number."""
    return builder.add(builder.draw(st.sampled_from(("mul", "add"))), x, builder.draw(_numbers))


def clamp(builder: Builder, x: int) -> int | None:
    """Numbers cut off at both ends."""
    return builder.add("clamp", x, min=-2.0, max=3.0)


def linear(builder: Builder, x: int) -> int | None:
    """A linear layer on the last axis."""
    shape = builder.shape(x)
    if not shape or not shape[-1]:
        return None
    return builder.add(
        "Linear",
        x,
        in_features=shape[-1],
        out_features=builder.draw(_widths),
        bias=builder.draw(_yes_no),
    )


def convolution(builder: Builder, x: int) -> int | None:
    """A convolution of an image, no larger than its kernel allows."""
    shape = builder.shape(x)
    if len(shape) != 4:
        return None
    kernel, padding = builder.draw(_kernels), builder.draw(st.integers(0, 1))
    if min(shape[2:]) + 2 * padding < kernel:
        return None
    channels = shape[1]
    widths = _wide_channels if channels >= MANY_CHANNELS else _widths
    depthwise = builder.draw(_yes_no) and channels > 1
    return builder.add(
        "Conv2d",
        x,
        in_channels=channels,
        out_channels=channels if depthwise else builder.draw(widths),
        kernel_size=kernel,
        stride=builder.draw(st.sampled_from((1, 1, 2))),
        padding=padding,
        groups=channels if depthwise else 1,
        bias=builder.draw(_yes_no),
    )


def batch_norm(builder: Builder, x: int) -> int | None:
    """A batch norm in eval mode; ε makes the deviation of a variance of ¾ equal to 1."""
    shape = builder.shape(x)
    if len(shape) not in (2, 4):
        return None
    name = "BatchNorm2d" if len(shape) == 4 else "BatchNorm1d"
    return builder.add(name, x, num_features=shape[1], eps=0.25 if builder.exact else 1e-5)


def pool(builder: Builder, x: int) -> int | None:
    """A pooling of an image by two or one."""
    shape = builder.shape(x)
    if len(shape) != 4 or min(shape[2:]) < 2:
        return None
    name = builder.draw(st.sampled_from(("MaxPool2d", "AvgPool2d")))
    return builder.add(name, x, kernel_size=2, stride=builder.draw(st.sampled_from((1, 2))))


def pad(builder: Builder, x: int) -> int | None:
    """Zeros around the last axes."""
    if len(builder.shape(x)) < 2:
        return None
    return builder.add(
        "functional.pad", x, pad=builder.draw(st.sampled_from(((1, 0), (1, 1, 0, 2))))
    )


def norm(builder: Builder, x: int) -> int | None:
    """A layer or RMS norm, or a softmax, of the last axis; all of them round."""
    shape = builder.shape(x)
    if builder.exact or not shape or shape[-1] < 2:
        return None
    name = builder.draw(st.sampled_from(("LayerNorm", "RMSNorm", "functional.softmax")))
    if name == "functional.softmax":
        return builder.add(name, x, dim=-1)
    return builder.add(name, x, normalized_shape=(shape[-1],), eps=1e-5)


def identity(builder: Builder, x: int) -> int | None:
    """A layer that does nothing in eval mode."""
    return builder.add(builder.draw(st.sampled_from(("Identity", "Dropout"))), x)


def permute(builder: Builder, x: int) -> int | None:
    """The axes in another order."""
    axes = builder.draw(st.permutations(range(len(builder.shape(x)))))
    return builder.add("permute", x, dims=tuple(axes))


def transpose(builder: Builder, x: int) -> int | None:
    """The last two axes exchanged."""
    return None if len(builder.shape(x)) < 2 else builder.add("transpose", x, dim0=-2, dim1=-1)


def reshape(builder: Builder, x: int) -> int | None:
    """The same elements in another shape: flat, with a flat part, or with an axis more."""
    shape = builder.shape(x)
    forms: list[Shape] = [(math.prod(shape),)]
    if len(shape) < 4:
        forms.append((1, *shape))
    if len(shape) > 1:
        forms.append((shape[0], math.prod(shape[1:])))
        forms.append((math.prod(shape[:-1]), shape[-1]))
    return builder.add("reshape", x, shape=builder.draw(st.sampled_from(forms)))


def index(builder: Builder, x: int) -> int | None:
    """Every second element, all but the first, or the first half, of one axis."""
    shape = builder.shape(x)
    axis = builder.draw(_axes)
    if axis >= len(shape) or shape[axis] < 2:
        return None
    part = builder.draw(
        st.sampled_from(((None, None, 2), (1, None, None), (None, shape[axis] // 2, None)))
    )
    return builder.add("index", x, slices=(*[(None, None, None)] * axis, part))


def flip(builder: Builder, x: int) -> int | None:
    """One axis in reverse order."""
    axis = builder.draw(_axes)
    return None if axis >= len(builder.shape(x)) else builder.add("flip", x, dims=(axis,))


def expand(builder: Builder, x: int) -> int | None:
    """An axis in front, of two equal parts."""
    shape = builder.shape(x)
    if len(shape) > 3 or 2 * math.prod(shape) > MAX_ELEMENTS:
        return None
    return builder.add("expand", x, size=(2, *shape))


def unsqueeze(builder: Builder, x: int) -> int | None:
    """An axis of size 1 more."""
    rank = len(builder.shape(x))
    return builder.add("unsqueeze", x, dim=builder.draw(st.integers(0, rank))) if rank < 4 else None


def squeeze(builder: Builder, x: int) -> int | None:
    """An axis less if its size is 1."""
    rank, axis = len(builder.shape(x)), builder.draw(_axes)
    return builder.add("squeeze", x, dim=axis) if axis < rank else None


def select(builder: Builder, x: int) -> int | None:
    """The first or last place of an axis, and no axis there."""
    shape, axis = builder.shape(x), builder.draw(_axes)
    if axis >= len(shape) or not shape[axis]:
        return None
    place = builder.draw(st.sampled_from((0, shape[axis] - 1)))
    return builder.add("select", x, dim=axis, index=place)


def reduce(builder: Builder, x: int) -> int | None:
    """A sum, mean or maximum along an axis; an exact mean is of a power of two."""
    shape, axis = builder.shape(x), builder.draw(_axes)
    if axis >= len(shape) or not shape[axis]:
        return None
    names = ["sum", "amax", "amin", "mean"]
    if builder.exact and shape[axis].bit_count() != 1:
        names.pop()
    return builder.add(
        builder.draw(st.sampled_from(names)), x, dim=(axis,), keepdim=builder.draw(_yes_no)
    )


def combine(builder: Builder, x: int) -> int | None:
    """Two values of one shape, or of shapes that broadcast, combined element by element."""
    shape = builder.shape(x)

    def fits(other: Shape) -> bool:
        pairs = zip(reversed(shape), reversed(other), strict=False)
        sizes = max(shape, other, key=len)
        broadcasts = all(a == b or 1 in (a, b) for a, b in pairs)
        return other == shape or (len(sizes) <= 4 and broadcasts)

    other = builder.draw(st.sampled_from(builder.values(fits)))
    return builder.add(builder.draw(_binary), x, other)


def concatenate(builder: Builder, x: int) -> int | None:
    """Values of one shape one after another."""
    shape, axis = builder.shape(x), builder.draw(_axes)
    if axis >= len(shape) or 2 * math.prod(shape) > MAX_ELEMENTS:
        return None
    other = builder.draw(st.sampled_from(builder.values(lambda y: y == shape)))
    return builder.add("cat", x, other, dim=axis)


def matmul(builder: Builder, x: int) -> int | None:
    """The product of a matrix with its own transpose."""
    if len(builder.shape(x)) not in (2, 3) or builder.nodes_left < 2:
        return None
    return builder.add("matmul", x, builder.add("transpose", x, dim0=-2, dim1=-1))


def again(builder: Builder, x: int) -> int | None:
    """An earlier linear layer on a value of the right features."""
    shape = builder.shape(x)
    for number, (target, arguments, _) in enumerate(builder.nodes):
        if target == "Linear" and shape and shape[-1] == dict(arguments)["in_features"]:
            return builder.again(number, x)
    return None


STEPS: tuple[Step, ...] = (
    elementwise, linear, combine, scalar, convolution, batch_norm, permute, reshape, concatenate,
    pool, norm, index, reduce, clamp, matmul, again, pad, flip, expand, identity, unsqueeze,
    squeeze, select,
)  # fmt: skip
