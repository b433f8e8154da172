"""Convolutions and linear layers in ONNX: Conv, ConvTranspose, Pad, Gemm, MatMul, Einsum.

Other operators compose unbatched input (Unsqueeze, Squeeze), padding modes (Pad before Conv),
Linear of inputs other than matrices (MatMul, Add), and Bilinear (Einsum, Add).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.backends.adapters.onnx.nodes import BFLOAT16, Graph, Value, per_dimension
from conformance.backends.adapters.windows import PADDING_MODES
from conformance.model.case import Unsupported

AUTO_PADS = {"same": "SAME_UPPER", "valid": "VALID"}


def identity(graph: Graph, input: Value) -> str:
    """Identity; the layer's arguments are ignored."""
    return graph.add("Identity", input.name)


def linear(graph: Graph, input: Value, weight: Value, bias: Value | None = None) -> str:
    """y = x Aᵀ + b: Gemm for a matrix, MatMul and Add otherwise."""
    if weight.rank > 2:
        raise Unsupported("weight of another rank, which MatMul broadcasts")
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise Unsupported("bias of another shape, which Gemm and Add broadcast")
    if input.rank == weight.rank == 2:
        return graph.add("Gemm", input.name, weight.name, _optional_name(bias), transB=1)
    matrix = weight.name if weight.rank == 1 else graph.add("Transpose", weight.name)
    return _add_bias(graph, graph.add("MatMul", input.name, matrix), bias)


def bilinear(
    graph: Graph, input1: Value, input2: Value, weight: Value, bias: Value | None = None
) -> str:
    """y = x₁ᵀ A x₂ + b."""
    if graph.dtype == BFLOAT16:
        raise Unsupported("Einsum in bfloat16")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise Unsupported("bias of another shape, which Add broadcasts")
    if input1.shape[:-1] != input2.shape[:-1]:
        raise Unsupported("leading dimensions that differ, which Einsum broadcasts")
    for x, features in zip((input1, input2), weight.shape[1:], strict=False):
        if x.shape[-1:] != (features,) and 1 in (*x.shape[-1:], features):
            raise Unsupported("one feature for several, which Einsum broadcasts")
        if 0 in x.shape[-1:]:
            raise Unsupported("no features, which Einsum sums")
    terms = (input1.name, weight.name, input2.name)
    return _add_bias(graph, graph.add("Einsum", *terms, equation="...i,oij,...j->...o"), bias)


def conv(
    graph: Graph, input: Value, weight: Value, bias: Value | None = None, *, dims: int,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    padding_mode: str = "zeros",
) -> str:  # fmt: skip
    """Conv; 'same' becomes SAME_UPPER, 'valid' becomes VALID."""
    if padding == "same" and set(per_dimension(stride, dims)) != {1}:
        raise Unsupported("padding='same' with a stride, which SAME_UPPER has")
    if isinstance(padding, str) and padding not in AUTO_PADS:
        raise Unsupported(f"padding={padding!r}")
    x = _add_batch(graph, input, dims)
    attributes: dict[str, Any] = {"pads": per_dimension(0, 2 * dims)}
    if padding_mode != "zeros":
        x = _pad_input(
            graph, x, input, weight, per_dimension(dilation, dims), padding, padding_mode
        )
    elif isinstance(padding, str):
        attributes = {"auto_pad": AUTO_PADS[padding]}
    else:
        pads = per_dimension(padding, dims)
        if len(pads) != dims:
            raise ValueError(f"padding={padding!r}: expected {dims} numbers, or one")
        attributes = {"pads": pads * 2}
    y = graph.add(
        "Conv", x, weight.name, _optional_name(bias), strides=per_dimension(stride, dims),
        dilations=per_dimension(dilation, dims), group=groups, **attributes,
    )  # fmt: skip
    return _remove_batch(graph, y, input, dims)


def conv_transpose(
    graph: Graph, input: Value, weight: Value, bias: Value | None = None, *, dims: int,
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1, padding_mode: str = "zeros", output_size: Sequence[int] | None = None,
) -> str:  # fmt: skip
    """ConvTranspose; output_size is translated to output_padding."""
    if padding_mode != "zeros":
        raise Unsupported(f"padding_mode={padding_mode!r}")
    step, pad, dilations = (per_dimension(value, dims) for value in (stride, padding, dilation))
    extra = per_dimension(output_padding, dims)
    if output_size is not None:
        rows = zip(input.shape[-dims:], weight.shape[2:], step, pad, dilations, strict=True)
        smallest_sizes = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in rows]
        extra = [w - n for w, n in zip(list(output_size)[-dims:], smallest_sizes, strict=False)]
        if len(output_size) not in (dims, input.rank) or min(extra) < 0:
            raise Unsupported("output_size that no output_padding gives")
    x = _add_batch(graph, input, dims)
    y = graph.add(
        "ConvTranspose", x, weight.name, _optional_name(bias), strides=step, pads=pad * 2,
        dilations=dilations, output_padding=extra, group=groups,
    )  # fmt: skip
    return _remove_batch(graph, y, input, dims)


def _optional_name(value: Value | None) -> str | None:
    return None if value is None else value.name


def _add_bias(graph: Graph, product: str, bias: Value | None) -> str:
    return product if bias is None else graph.add("Add", product, bias.name)


def _add_batch(graph: Graph, input: Value, dims: int) -> str:
    """Add a batch dimension to an input that has none."""
    if input.rank != dims + 1:
        return input.name
    return graph.add("Unsqueeze", input.name, graph.integers(0))


def _remove_batch(graph: Graph, output: str, input: Value, dims: int) -> str:
    """Remove the batch dimension that `_add_batch` added."""
    return graph.add("Squeeze", output, graph.integers(0)) if input.rank == dims + 1 else output


def _pad_input(
    graph: Graph, x: str, input: Value, weight: Value, dilation: Sequence[int], padding: Any,
    mode: str,
) -> str:  # fmt: skip
    """Pad the input by Pad; for 'same' the larger part comes after."""
    if mode not in PADDING_MODES:
        raise Unsupported(f"padding_mode={mode!r}")
    dims = len(dilation)
    before = after = per_dimension(0 if isinstance(padding, str) else padding, dims)
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before = [n // 2 for n in reach]
        after = [n - n // 2 for n in reach]
    if min(before) < 0:
        raise Unsupported(f"padding={padding!r}, by which Pad crops")
    limits = [n - (mode == "reflect") for n in input.shape[-dims:]]
    if mode != "replicate" and any(n > m for n, m in zip(after, limits, strict=False)):
        raise Unsupported("padding beyond the input, where Pad wraps and reflects on")
    pads = graph.integers(0, 0, *before, 0, 0, *after)
    return graph.add("Pad", x, pads, mode=PADDING_MODES[mode])
