"""Layers that move elements, in ONNX: Pad, DepthToSpace, Col2Im, Gather, OneHot, Reshape.

SpaceToDepth has the block before the channel, torch after it, so Reshape and Transpose swap the
two. Shuffled channels and Flatten are Reshape and Transpose. Gather and OneHot accept negative and
too large indices, which no graph can refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value, per_dimension
from conformance.backends.adapters.shared import require_supported
from conformance.backends.adapters.windows import PAD_MODES
from conformance.model.case import Unsupported

INT64 = np.dtype(np.int64)


def pad(
    graph: Graph, input: Value, *, pad: Sequence[int], mode: str = "constant",
    value: float | None = None,
) -> str:  # fmt: skip
    """Pad; torch's numbers are a pair for each axis, and begin with the last axis."""
    if mode not in PAD_MODES:
        raise Unsupported(f"mode={mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.rank:
        raise Unsupported(f"pad={pad!r}")
    before, after = list(pad[::2])[::-1], list(pad[1::2])[::-1]
    axes = len(before)
    lengths = input.shape[input.rank - axes :]
    if mode != "constant":
        if input.rank not in (axes + 1, axes + 2):
            raise Unsupported(f"mode={mode!r} of {axes} axes of {input.rank}")
        if min(*before, *after) < 0:
            raise Unsupported(f"pad={pad!r}, by which Pad crops")
        if value is not None:
            raise Unsupported(f"value={value!r} with mode={mode!r}")
        if 0 in input.shape[input.rank - axes - 1 :]:
            raise Unsupported("an input of no elements, which Pad does not refuse")
        limits = [n - (mode == "reflect") for n in lengths]
        if mode != "replicate" and any(
            max(b, a) > m for b, a, m in zip(before, after, limits, strict=True)
        ):
            raise Unsupported("padding beyond the input, where Pad wraps and reflects on")
    if any(b + n + a < 0 for b, n, a in zip(before, lengths, after, strict=True)):
        raise Unsupported("an output of fewer than no elements")
    if not axes:
        return graph.add("Identity", input.name)
    other_axes = [0] * (input.rank - axes)
    number = 0 if value is None else value
    filling = np.array(number, dtype=input.dtype)
    if input.dtype.kind == "i" and int(filling) != number:
        raise Unsupported(f"value={value!r} of {input.dtype}")
    value_inputs = () if mode != "constant" else (graph.constant(filling),)
    pads = graph.integers(*other_axes, *before, *other_axes, *after)
    return graph.add("Pad", input.name, pads, *value_inputs, mode=PAD_MODES[mode])


def padding_layer(
    graph: Graph, input: Value, *, dims: int, mode: str, padding: Any, value: float | None = None
) -> str:
    """Padding modules, which take one number for each side, or one for all."""
    numbers = [padding] * (2 * dims) if isinstance(padding, int) else list(padding)
    if len(numbers) != 2 * dims:
        raise Unsupported(f"padding={padding!r}")
    if input.rank < dims or (mode != "constant" and input.rank not in (dims + 1, dims + 2)):
        raise Unsupported(f"an input of {input.rank} axes, which Pad does not refuse")
    return _pad_input(graph, input, pad=numbers, mode=mode, value=value)


_pad_input = pad


def pixel_shuffle(graph: Graph, input: Value, *, upscale_factor: int) -> str:
    """DepthToSpace in mode CRD; Reshape converts to four axes and back."""
    if input.rank < 3 or upscale_factor < 1 or input.shape[-3] % upscale_factor**2:
        raise Unsupported(f"upscale_factor={upscale_factor} of shape {input.shape}")
    c, h, w = input.shape[-3:]
    x = _to_images(graph, input.name, input)
    y = graph.add("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")
    r = upscale_factor
    return _reshape_back(graph, y, input, (*input.shape[:-3], c // r**2, h * r, w * r))


def pixel_unshuffle(graph: Graph, input: Value, *, downscale_factor: int) -> str:
    """SpaceToDepth, then Transpose for torch's order of channels."""
    r = downscale_factor
    if input.rank < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise Unsupported(f"downscale_factor={r} of shape {input.shape}")
    c, h, w = input.shape[-3] * r**2, input.shape[-2] // r, input.shape[-1] // r
    y = graph.add("SpaceToDepth", _to_images(graph, input.name, input), blocksize=r)
    batch = math.prod(input.shape[:-3])
    y = graph.add("Reshape", y, graph.integers(batch, r**2, input.shape[-3], h, w), allowzero=1)
    y = graph.add("Transpose", y, perm=[0, 2, 1, 3, 4])
    return graph.add("Reshape", y, graph.integers(*input.shape[:-3], c, h, w), allowzero=1)


def channel_shuffle(graph: Graph, input: Value, *, groups: int) -> str:
    """Reshape, Transpose, Reshape."""
    if input.rank < 3 or groups < 1 or input.shape[1] % groups:
        raise Unsupported(f"groups={groups} of shape {input.shape}")
    n, c, *rest = input.shape
    x = graph.add("Reshape", input.name, graph.integers(n, groups, c // groups, *rest), allowzero=1)
    x = graph.add("Transpose", x, perm=[0, 2, 1, *range(3, input.rank + 1)])
    return graph.add("Reshape", x, graph.integers(*input.shape), allowzero=1)


def flatten(graph: Graph, input: Value, *, start_dim: int = 1, end_dim: int = -1) -> str:
    """Reshape, because ONNX's Flatten always returns a matrix."""
    rank = max(input.rank, 1)
    if not (-rank <= start_dim < rank and -rank <= end_dim < rank):
        raise Unsupported(f"start_dim={start_dim}, end_dim={end_dim} of {input.rank} axes")
    first, last = start_dim % rank, end_dim % rank
    if first > last:
        raise Unsupported(f"start_dim={start_dim} behind end_dim={end_dim}")
    shape = input.shape or (1,)
    flat = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
    return graph.add("Reshape", input.name, graph.integers(*flat), allowzero=1)


def fold(
    graph: Graph, input: Value, *, output_size: Any, kernel_size: Any, dilation: Any = 1,
    padding: Any = 0, stride: Any = 1,
) -> str:  # fmt: skip
    """Col2Im."""
    image, block, dilations, pads, steps = (
        per_dimension(x, 2) for x in (output_size, kernel_size, dilation, padding, stride)
    )
    if any(len(x) != 2 for x in (image, block, dilations, pads, steps)):
        raise Unsupported("a tuple of another number than two")
    if input.rank not in (2, 3) or min(*block, *dilations, *steps) < 1 or min(pads) < 0:
        raise Unsupported(f"an input of {input.rank} axes, or sizes, that Col2Im takes")
    rows = zip(image, block, dilations, pads, steps, strict=True)
    blocks = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in rows]
    if input.shape[-2] % math.prod(block) or math.prod(blocks) != input.shape[-1]:
        raise Unsupported("blocks of another number, which Col2Im does not refuse")
    is_unbatched = input.rank == 2
    x = graph.add("Unsqueeze", input.name, graph.integers(0)) if is_unbatched else input.name
    y = graph.add(
        "Col2Im", x, graph.integers(*image), graph.integers(*block), dilations=dilations,
        pads=pads * 2, strides=steps,
    )  # fmt: skip
    return graph.add("Squeeze", y, graph.integers(0)) if is_unbatched else y


def embedding(
    graph: Graph, input: Value, weight: Value, *, padding_idx: int | None = None,
    max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> str:  # fmt: skip
    """Gather; arguments about gradients and initial values do not change the output."""
    require_supported(max_norm=(max_norm, None))
    if weight.rank != 2:
        raise Unsupported(f"a weight of {weight.rank} axes, which Gather does not refuse")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise Unsupported(f"padding_idx={padding_idx} of {rows} rows")
    return graph.set_dtype(graph.add("Gather", weight.name, input.name), weight.dtype)


def one_hot(graph: Graph, tensor: Value, *, num_classes: int = -1) -> str:
    """OneHot of integers, along the last axis."""
    if tensor.dtype != INT64:
        raise Unsupported(f"classes of {tensor.dtype}, which OneHot does not refuse")
    if tensor.rank == 0:
        raise Unsupported("a scalar, of which OneHot has no axis")
    if num_classes < 1:
        raise Unsupported(f"num_classes={num_classes}")
    depth = graph.constant(np.array(num_classes, dtype=np.int64))
    y = graph.add("OneHot", tensor.name, depth, graph.integers(0, 1))
    return graph.set_dtype(y, INT64)


def _to_images(graph: Graph, x: str, input: Value) -> str:
    """Reshape to four axes; the first one combines all axes before the channels."""
    if input.rank == 4:
        return x
    shape = (math.prod(input.shape[:-3]), *input.shape[-3:])
    return graph.add("Reshape", x, graph.integers(*shape), allowzero=1)


def _reshape_back(graph: Graph, y: str, input: Value, shape: Sequence[int]) -> str:
    if input.rank == 4:
        return y
    return graph.add("Reshape", y, graph.integers(*shape), allowzero=1)


def _functions() -> dict[str, Callable[..., Any]]:
    """Implementations by layer: modules and functions."""
    implementations: dict[str, Callable[..., Any]] = {"functional.pad": pad}
    kinds = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
    for dims in (1, 2, 3):
        for kind, mode in kinds.items():
            implementations[f"{kind}Pad{dims}d"] = partial(padding_layer, dims=dims, mode=mode)
        for kind in ("Zero", "Constant"):
            implementations[f"{kind}Pad{dims}d"] = partial(
                padding_layer, dims=dims, mode="constant"
            )
    for names, function in (
        (("PixelShuffle", "functional.pixel_shuffle"), pixel_shuffle),
        (("PixelUnshuffle", "functional.pixel_unshuffle"), pixel_unshuffle),
        (("ChannelShuffle", "functional.channel_shuffle"), channel_shuffle),
        (("Flatten",), flatten),
        (("Fold", "functional.fold"), fold),
        (("Embedding", "functional.embedding"), embedding),
        (("functional.one_hot",), one_hot),
    ):
        implementations |= dict.fromkeys(names, function)
    return implementations


FUNCTIONS = _functions()
