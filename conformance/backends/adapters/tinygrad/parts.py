"""Helpers of tinygrad's adapter: dtypes, a layer's state, memory layouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from subprocess import CalledProcessError
from typing import Any
from unittest.mock import patch

import numpy as np
from tinygrad import Tensor, dtypes

from conformance.backends.adapters.shared import State
from conformance.backends.numpy_layouts import enlarged_memory, gap_value, swapped_axes, unexpanded
from conformance.model.case import Unsupported

DTYPES = {
    name: getattr(dtypes, name)
    for name in ("float32", "float64", "bfloat16", "float16", "int64", "bool")
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
_seeds = itertools.count()


@cache
def has_compiler_support(dtype: str) -> bool:
    """Whether the compiler supports a dtype; clang has bfloat16 since version 15."""
    if dtype not in DTYPES:
        return False
    try:
        make_tensor(np.ones(1), "contiguous", dtype)
    except CalledProcessError:
        return False
    return True


def make_layer(make: Callable[[], Any], state: State) -> Any:
    """Make a layer and load a state, whose names are tinygrad's as well as torch's.

    An empty state keeps the layer's initial values.
    """
    if not state:
        # Without a new seed the lazy generator would keep all unused initial values.
        Tensor.manual_seed(next(_seeds))
        return make()
    # The graph of initial values that nobody uses took a quarter of a convolution's time.
    with patch.object(Tensor, "uniform", lambda *shape, **options: Tensor.empty(*shape)):
        layer = make()
    for name, value in state.items():
        setattr(layer, name, value)
    return layer


def make_tensor(array: np.ndarray, layout: str, dtype: str) -> Any:
    """Copy a host array into a tensor; layouts other than contiguous are views of its memory."""
    if layout == "contiguous":
        return _buffer(array, dtype).reshape(array.shape)
    if layout == "channels_last" and array.ndim in (4, 5):
        order = (0, array.ndim - 1, *range(1, array.ndim - 1))
        return _buffer(np.moveaxis(array, 1, -1), dtype).permute(order)
    if layout == "transposed" and (pair := swapped_axes(array)):
        return _buffer(array.swapaxes(*pair), dtype).transpose(*pair)
    if enlarged := enlarged_memory(array, layout):
        size, place = enlarged
        memory = np.full(size, gap_value(array.dtype.kind == "i"))
        memory[place] = array.reshape(memory[place].shape)
        return _buffer(memory, dtype)[place].reshape(array.shape)
    if layout == "expanded" and (first := unexpanded(array)) is not None:
        return _buffer(first, dtype).reshape(first.shape).expand(array.shape)
    raise Unsupported(f"layout={layout!r} of shape {array.shape}")


def _buffer(array: np.ndarray, dtype: str) -> Any:
    """A tensor with its own memory; tinygrad gives none to a tensor without axes."""
    host = np.ascontiguousarray(array if array.ndim else array.reshape(1))
    if dtype == "bfloat16":
        return Tensor(host.astype("float32"), device="CPU").cast(DTYPES[dtype]).realize()
    numbers = host.astype(dtype, copy=False)
    if not host.size:
        return Tensor(numbers, device="CPU").realize()
    tensor = Tensor.empty(*host.shape, dtype=DTYPES[dtype], device="CPU")
    # A copy that tinygrad plans and compiles takes some 17 times as long for each new shape.
    memory = tensor.uop.buffer.ensure_allocated().as_memoryview(force_zero_copy=True)
    memory[:] = numbers.tobytes()
    return tensor
