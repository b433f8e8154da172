"""Calls of functional layers, written by hand, that tell a wrong kernel from a right one."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Call:
    """A call of a functional layer; each run makes its numbers anew, always the same.

    Args:
        text: the call as it is written in the catalogue.
        run: gives what the layer returns, and what else is to be compared.
    """

    text: str
    run: Callable[[], list[Tensor]]


def _make_call(function: Callable[..., Sequence[Tensor]]) -> Callable[..., Call]:
    @functools.wraps(function)
    def make(*args: Any, **options: Any) -> Call:
        parts = [str(arg) for arg in args] + [f"{key}={value}" for key, value in options.items()]
        text = f"{function.__name__}({', '.join(parts)})"

        def run() -> list[Tensor]:
            torch.manual_seed(zlib.crc32(text.encode()))
            return list(function(*args, **options))

        return Call(text, run)

    return make


def _normal(shape: Sequence[int], dtype: str, spread: float = 1.0) -> Tensor:
    return (torch.randn(*shape, dtype=torch.float64) * spread).to(getattr(torch, dtype))


def _append_gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=torch.float64).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad(output, inputs, weights.to(output.dtype))]


@_make_call
def linear(
    m: int,
    k: int,
    n: int,
    *,
    dtype: str = "float32",
    bias: bool = True,
    input_transposed: bool = False,
    weight_transposed: bool = False,
    gradients: bool = False,
) -> list[Tensor]:
    """m rows of k features to n; the input comes back as well, for kernels that write into it."""
    x = _normal((k, m), dtype).t() if input_transposed else _normal((m, k), dtype)
    shape = (k, n) if weight_transposed else (n, k)
    w = _normal(shape, dtype, max(k, 1) ** -0.5)
    w = w.t() if weight_transposed else w
    b = _normal((n,), dtype) if bias else None
    if gradients:
        inputs = [x.requires_grad_(), w.requires_grad_()]
        return _append_gradients(functional.linear(x, w, b), inputs)
    return [functional.linear(x, w, b), x]


@_make_call
def linear_twice(m: int, k: int, n: int, *, bias: bool = True) -> list[Tensor]:
    """Two calls of the same sizes with other numbers."""
    return [linear.__wrapped__(m, k, n, bias=bias)[0] for _ in range(2)]


@_make_call
def attend(
    batch: int, queries: int, keys: int, size: int, *, dtype: str = "float32", shared: bool = False
) -> list[Tensor]:
    """Attention in three dimensions: two products of a batch of matrices."""
    q = _normal((batch, queries, size), dtype)
    k = _normal((1 if shared else batch, keys, size), dtype).expand(batch, keys, size)
    v = _normal((1 if shared else batch, keys, size), dtype).expand(batch, keys, size)
    # Since 2.15 torch fuses these, too, but not where a mask may learn.
    mask = torch.zeros(queries, keys, dtype=q.dtype, requires_grad=True)
    return [functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).detach()]


@_make_call
def attend_heads(
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    size: int,
    *,
    dtype: str = "float32",
    causal: bool = False,
    masked: bool = False,
    spread: float = 1.0,
    key_heads: int | None = None,
    gradients: bool = False,
) -> list[Tensor]:
    """Attention in four dimensions, which torch fuses on the CPU."""
    q = _normal((batch, heads, queries, size), dtype, spread)
    k = _normal((batch, key_heads or heads, keys, size), dtype)
    v = _normal((batch, key_heads or heads, keys, size), dtype)
    mask = torch.rand(queries, keys) < 0.7 if masked else None
    options = {"attn_mask": mask, "is_causal": causal, "enable_gqa": key_heads is not None}
    if gradients:
        inputs = [q.requires_grad_(), k.requires_grad_(), v.requires_grad_()]
        return _append_gradients(
            functional.scaled_dot_product_attention(q, k, v, **options), inputs
        )
    return [functional.scaled_dot_product_attention(q, k, v, **options)]


@_make_call
def conv(
    batch: int,
    channels: int,
    to: int,
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    dtype: str = "float32",
    transposed: bool = False,
    groups: int = 1,
    bias: bool = True,
    channels_last: bool = False,
    **options: Any,
) -> list[Tensor]:
    """A convolution in one to three dimensions."""
    x = _normal((batch, channels, *size), dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    fan = channels // groups * torch.Size(kernel).numel()
    shape = (channels, to // groups) if transposed else (to, channels // groups)
    w = _normal((*shape, *kernel), dtype, fan**-0.5)
    b = _normal((to,), dtype) if bias else None
    name = f"conv{'_transpose' if transposed else ''}{len(size)}d"
    return [getattr(functional, name)(x, w, b, groups=groups, **options)]


@_make_call
def layer_norm(
    rows: int,
    size: int,
    *,
    dtype: str = "float32",
    spread: float = 1.0,
    offset: float = 0.0,
    affine: bool = True,
    gradients: bool = False,
) -> list[Tensor]:
    """Rows of a size, normalised."""
    x = (_normal((rows, size), "float64", spread) + offset).to(getattr(torch, dtype))
    w, b = (_normal((size,), dtype), _normal((size,), dtype)) if affine else (None, None)
    if gradients:
        x.requires_grad_()
        return _append_gradients(functional.layer_norm(x, (size,), w, b), [x])
    return [functional.layer_norm(x, (size,), w, b)]


@_make_call
def group_norm(
    batch: int, channels: int, length: int, groups: int, *, dtype: str = "float32"
) -> list[Tensor]:
    """Groups of channels, normalised."""
    x = _normal((batch, channels, length), dtype)
    w, b = _normal((channels,), dtype), _normal((channels,), dtype)
    return [functional.group_norm(x, groups, w, b)]


@_make_call
def softmax(
    *shape: int,
    dim: int = -1,
    dtype: str = "float32",
    spread: float = 1.0,
    offset: float = 0.0,
    transposed: bool = False,
    rising: float = 0.0,
    log: bool = False,
) -> list[Tensor]:
    """Softmax over a dimension; `rising` adds so much from one element of it to the next."""
    x = _normal(shape, "float64", spread) + offset
    along = [1] * len(shape)
    along[dim] = shape[dim]
    x = x + rising * torch.arange(shape[dim], dtype=torch.float64).reshape(along)
    x = x.to(getattr(torch, dtype))
    if transposed:
        x = x.transpose(0, 1)
    return [functional.log_softmax(x, dim) if log else functional.softmax(x, dim)]


@_make_call
def embedding(
    rows: int,
    size: int,
    indices: Sequence[int],
    *,
    dtype: str = "float32",
    padding_idx: int | None = None,
    weight_transposed: bool = False,
    indices_transposed: bool = False,
) -> list[Tensor]:
    """A table of rows, and indices of this shape that include the last row."""
    w = _normal((size, rows), dtype).t() if weight_transposed else _normal((rows, size), dtype)
    i = torch.randint(rows, tuple(indices))
    i.reshape(-1)[-1] = rows - 1
    if padding_idx is not None:
        i.reshape(-1)[0] = padding_idx
    return [functional.embedding(i.t() if indices_transposed else i, w, padding_idx)]


@_make_call
def gelu(
    *shape: int,
    dtype: str = "float32",
    approximate: str = "none",
    transposed: bool = False,
) -> list[Tensor]:
    """GELU; the input comes back as well, for kernels that write into it."""
    x = _normal(shape, dtype, 1.5)
    x = x.t() if transposed else x
    return [functional.gelu(x, approximate=approximate), x]


@_make_call
def max_pool2d(
    batch: int,
    channels: int,
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    dtype: str = "float32",
    offset: float = 0.0,
    nan: bool = False,
    channels_last: bool = False,
    gradients: bool = False,
    then_zeroed: bool = False,
    **options: Any,
) -> list[Tensor]:
    """Largest elements of windows, with their indices."""
    x = _normal((batch, channels, *size), dtype) + offset
    if nan:
        x[..., 1, 1] = torch.nan
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    if gradients:
        x.requires_grad_()
        return _append_gradients(functional.max_pool2d(x, tuple(kernel), **options), [x])
    out, indices = functional.max_pool2d(x, tuple(kernel), return_indices=True, **options)
    if then_zeroed:
        x.zero_()
    return [out, indices]
