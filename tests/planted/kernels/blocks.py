"""What blocked kernels share: how a dimension is cut, how numbers are read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Cut = Callable[[int], list[slice]]


def all_blocks(block: int) -> Cut:
    """Cut a length into blocks, the last one masked."""
    return lambda length: [
        slice(start, min(start + block, length)) for start in range(0, length, block)
    ]


def full_blocks(block: int) -> Cut:
    """Cut a length into `length // block` blocks, but at least one: the bug of a lost tail."""
    return lambda length: all_blocks(block)(length)[: max(1, length // block)]


def overlapping_blocks(block: int) -> Cut:
    """Cut a length into blocks of which all but the first begin one element too early."""
    return lambda length: [slice(max(s.start - 1, 0), s.stop) for s in all_blocks(block)(length)]


def widened(tensor: Tensor) -> np.ndarray:
    """The numbers, those of half precision in float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy()


def rounded(array: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Round to a dtype and widen again: what a register of that dtype holds."""
    return widened(torch.from_numpy(np.ascontiguousarray(array)).to(dtype))


def allocate(shape: Sequence[int], like: Tensor) -> Tensor:
    """A new contiguous tensor with the dtype of `like`, whatever its memory holds."""
    return torch.empty(tuple(shape), dtype=like.dtype)


def store(output: Tensor, index: object, block: np.ndarray) -> None:
    """Write a block, rounded to the dtype of the tensor."""
    output[index].copy_(torch.from_numpy(np.ascontiguousarray(block)))


def to_tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """A new contiguous tensor with these numbers and the dtype of `like`."""
    return torch.from_numpy(np.array(array, order="C")).to(like.dtype)


def read_as_contiguous(tensor: Tensor) -> Tensor:
    """Read the memory as though it were contiguous: the bug of strides not looked at.

    Memory with fewer elements than the tensor, as after `expand`, is read by its strides.
    """
    last = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    if tensor.is_contiguous() or last < tensor.numel():
        return tensor
    strides = [1]
    for size in reversed(tensor.shape[1:]):
        strides.insert(0, strides[0] * size)
    return tensor.as_strided(tensor.shape, strides[: tensor.ndim])
