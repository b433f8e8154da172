"""A torch device `npy` whose tensors are NumPy arrays, registered from Python alone (torch ≥ 2.9).

torch keeps a tensor's shape, dtype and device; its numbers are the array `tensor.array`, and each
kernel is a function of such arrays. An operator without a kernel is refused by torch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("npy")


class NpyTensor(torch.Tensor):
    """A tensor of the device.

    Args:
        array: its numbers.
    """

    def __new__(cls, array):
        """torch's part: shape, dtype and device, and no memory."""
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        tensor = torch._C._acc.create_empty_tensor(array.shape, dtype)
        tensor.__class__ = cls
        return tensor

    def __init__(self, array):
        self.array = array

    def __repr__(self):
        """Without torch's formatting, which needs many kernels."""
        return f"NpyTensor({self.array})"


def kernel(operator):
    """Mark a function as the device's kernel of one of torch's operators."""
    return torch.library.impl(f"aten::{operator}", "PrivateUse1")


def _empty(size, dtype):
    name = str(dtype or torch.get_default_dtype()).removeprefix("torch.")
    if not hasattr(np, name):
        raise TypeError(f"device npy: no dtype {name}")
    return NpyTensor(np.empty(size, name))


@kernel("empty.memory_format")
def empty(size, *, dtype=None, **ignored):
    """Memory."""
    return _empty(size, dtype)


@kernel("empty_strided")
def empty_strided(size, stride, *, dtype=None, **ignored):
    """Memory, contiguous."""
    return _empty(size, dtype)


@kernel("_copy_from")
def copy_from(source, target, non_blocking=False):
    """Copy from the host, to the host, or within the device."""
    if target.device.type != "npy":
        return target.copy_(torch.from_numpy(source.array.copy()))
    target.array[...] = source.array if source.device.type == "npy" else source.numpy()
    return target


@kernel("uniform_")
def uniform_(self, low=0.0, high=1.0, *, generator=None):
    """Random numbers, of torch's generator."""
    values = torch.empty(self.shape, dtype=self.dtype).uniform_(low, high, generator=generator)
    self.array[...] = values.numpy()
    return self


@kernel("detach")
def detach(self):
    """The same memory."""
    return NpyTensor(self.array)


@kernel("linear")
def linear(input, weight, bias=None):
    """x Aᵀ + b."""
    if len({x.dtype for x in (input, weight, bias) if x is not None}) > 1:
        raise TypeError("device npy: linear of several dtypes")
    y = input.array @ weight.array.T
    return NpyTensor(y if bias is None else y + bias.array)


@kernel("linear_backward")
def linear_backward(input, gradient, weight, needed):
    """Gradients of the input, the weight and the bias."""
    rows = math.prod(input.shape[:-1])
    x, dy = (a.array.reshape(rows, a.shape[-1]) for a in (input, gradient))
    dx = (dy @ weight.array).reshape(input.shape)
    return NpyTensor(dx), NpyTensor(dy.T @ x), NpyTensor(dy.sum(0))
