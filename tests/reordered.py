"""Correct evaluations of a network in random orders, as real implementations choose them.

The network runs in float64 on numbers of the emulated dtype, and each operation is rounded here.
Sums run in random orders and numbers of lanes, products are fused with sums or not, and
intermediate results are stored in the dtype or stay wide. Sums, products, quotients and square
roots round to the nearest number; other functions round up or down at random.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch._decomp import core_aten_decompositions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
_FORMATS = {"float32": (24, -126), "bfloat16": (8, -126), "float16": (11, -14)}
"""Significant bits, and the exponent of the smallest normal number."""
_ELEMENTARY = frozenset(
    (
        *("exp", "log", "erf", "tanh", "sigmoid", "rsqrt", "log1p", "expm1", "pow", "softplus"),
        *("silu", "gelu", "logsumexp", "sin", "cos"),
    )
)
_DECOMPOSITIONS = core_aten_decompositions()


class ReorderedMode(TorchDispatchMode):
    """Emulates one correct implementation.

    Args:
        dtype: the emulated dtype.
        seed: which implementation.
    """

    def __init__(self, dtype: str, seed: int) -> None:
        super().__init__()
        self._random = np.random.default_rng(seed)
        self._dtype, self._depth = dtype, 0
        self._inner = "float32"
        self._stores = self._random.choice([0.0, 0.5, 1.0])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator as the emulated implementation does."""
        keywords = dict(kwargs or {})
        packet = func.overloadpacket
        own = _OWN.get(packet)
        self._depth += 1
        try:
            if own is not None:
                with self:
                    result = own(self, *args, **keywords)
            elif func in _DECOMPOSITIONS:
                with self:
                    result = _DECOMPOSITIONS[func](*args, **keywords)
            else:
                result = func(*args, **keywords)
                if func.is_view or packet.__name__.endswith("_"):
                    return result
                name = packet.__name__.strip("_")
                result = tree_map_only(
                    torch.Tensor,
                    lambda x: self._rounded(x, self._inner, name in _ELEMENTARY),
                    result,
                )
        finally:
            self._depth -= 1
        if self._depth == 0 and self._random.random() < self._stores:
            return tree_map_only(torch.Tensor, lambda x: self._rounded(x, self._dtype), result)
        return result

    def run_layer(self, function: Any, *inputs: torch.Tensor) -> torch.Tensor:
        """Run a layer of several operators, and store its result or not."""
        self._depth += 1
        try:
            result = function(*inputs)
        finally:
            self._depth -= 1
        stores = self._random.random() < self._stores
        return self._rounded(result, self._dtype) if stores else result

    def _rounded(self, x: torch.Tensor, dtype: str, faithful: bool = False) -> torch.Tensor:
        if x.dtype != torch.float64:
            return x
        array = x.detach().numpy()
        bits, smallest = _FORMATS[dtype]
        with np.errstate(all="ignore"):
            exponent = np.maximum(np.frexp(array)[1] - 1, smallest)
            quantum = np.ldexp(1.0, exponent - bits + 1)
            steps = array / quantum
            up = np.ceil(steps) if faithful else np.rint(steps)
            down = np.floor(steps) if faithful else up
            chosen = np.where(self._random.random(array.shape) < 0.5, up, down) * quantum
        return torch.from_numpy(np.where(np.isfinite(array), chosen, array))

    def add_products(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Σ_k a[..., k]·b[..., k] in a random order, with several partial sums."""
        count = a.shape[-1]
        shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
        order = self._random.permutation(count)
        lanes = min(int(self._random.choice([1, 2, 4, 8])), max(count, 1))
        fused = self._random.random() < 0.5
        sums = [torch.zeros(shape, dtype=torch.float64) for _ in range(lanes)]
        for position, k in enumerate(order):
            product = a[..., k] * b[..., k]
            if not fused:
                product = self._rounded(product, self._inner)
            lane = position % lanes
            sums[lane] = self._rounded(sums[lane] + product, self._inner)
        total = sums[0]
        for part in sums[1:]:
            total = self._rounded(total + part, self._inner)
        return total


def _matmul(mode: ReorderedMode, a: Any, b: Any) -> Any:
    with _paused():
        return mode.add_products(a.unsqueeze(-2), b.transpose(-1, -2).unsqueeze(-3))


def _addmm(mode: ReorderedMode, addend: Any, a: Any, b: Any, **options: Any) -> Any:
    assert not options
    product = aten.mm(a, b) if a.ndim == 2 else aten.bmm(a, b)
    return product + addend


def _sum(
    mode: ReorderedMode, x: Any, dim: Any = None, keepdim: bool = False, **options: Any
) -> Any:
    axes = range(x.ndim) if dim is None or dim == [] else [d % x.ndim for d in np.atleast_1d(dim)]
    if not x.is_floating_point():
        with _paused():
            return torch.sum(x, tuple(axes), keepdim=keepdim)
    other_axes = [d for d in range(x.ndim) if d not in axes]
    with _paused():
        rows = x.permute(*other_axes, *axes).reshape(*(x.shape[d] for d in other_axes), -1)
        total = mode.add_products(rows, torch.ones(rows.shape[-1], dtype=torch.float64))
        if keepdim:
            total = total.reshape([1 if d in axes else n for d, n in enumerate(x.shape)])
    return total


def _mean(
    mode: ReorderedMode, x: Any, dim: Any = None, keepdim: bool = False, **options: Any
) -> Any:
    total = aten.sum.dim_IntList(x, dim if dim is not None else list(range(x.ndim)), keepdim)
    count = x.numel() / max(total.numel(), 1)
    return total / count if mode._random.random() < 0.5 else total * (1.0 / count)


def _variance(
    mode: ReorderedMode, x: Any, dim: Any = None, *, correction: Any = 1, keepdim: bool = False
) -> Any:
    axes = list(range(x.ndim)) if dim is None else dim
    deviation = x - aten.mean.dim(x, axes, True)
    total = aten.sum.dim_IntList(deviation * deviation, axes, keepdim)
    return total / (x.numel() / max(total.numel(), 1) - float(correction))


def _convolution(
    mode: ReorderedMode, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    assert not transposed
    assert groups == 1
    assert x.ndim == 4
    with _paused():
        kernel = tuple(weight.shape[2:])
        columns = torch.nn.functional.unfold(
            x, kernel, dilation=dilation, padding=padding, stride=stride
        )
        rows, filters = columns.transpose(1, 2), weight.flatten(1)
        sums = mode.add_products(rows.unsqueeze(-2), filters).transpose(1, 2)
        sizes = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(x.shape[2:], padding, dilation, kernel, stride, strict=True)
        ]
        sums = sums.reshape(len(x), len(weight), *sizes)
    return sums if bias is None else sums + bias.reshape(-1, 1, 1)


@contextmanager
def _paused() -> Iterator[None]:
    """Run operators inside as they are."""
    guard = torch._C._DisableTorchDispatch()
    try:
        yield
    finally:
        del guard


_OWN = {
    aten.mm: _matmul,
    aten.bmm: _matmul,
    aten.addmm: _addmm,
    aten.baddbmm: _addmm,
    aten.sum: _sum,
    aten.mean: _mean,
    aten.var: _variance,
    aten.convolution: _convolution,
}


def evaluate_reordered(network: torch.nn.Module, x: torch.Tensor, seed: int) -> torch.Tensor:
    """The answer of one correct implementation, in the dtype of the input."""
    dtype = str(x.dtype).removeprefix("torch.")
    double = copy.deepcopy(network).double()
    mode = ReorderedMode(dtype, seed)
    attend = F.scaled_dot_product_attention
    # One layer: what it computes inside is not stored in half precision.
    patch = mock.patch.object(
        F, "scaled_dot_product_attention", lambda *inputs: mode.run_layer(attend, *inputs)
    )
    with torch.no_grad(), patch, mode:
        answer = double(x.double())
    return answer.to(x.dtype)
