"""GELU, `aten::gelu`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import (
    Cut,
    all_blocks,
    allocate,
    full_blocks,
    read_as_contiguous,
    store,
    widened,
)
from planted.kernels.calls import gelu
from planted.kernels.kernel import kernel

LAYERS = ("GELU", "functional.gelu")
OPERATOR = "aten::gelu"
_BLOCK = all_blocks(256)


def exact(x: np.ndarray) -> np.ndarray:
    """x · Φ(x)."""
    with np.errstate(all="ignore"):
        return 0.5 * x * (1 + torch.erf(torch.from_numpy(x * x.dtype.type(0.5**0.5))).numpy())


def by_tanh(x: np.ndarray) -> np.ndarray:
    """x · Φ(x) as approximated with tanh."""
    with np.errstate(all="ignore"):
        return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x)))


def blocked(self: Tensor, approximate: str, blocks: Cut = _BLOCK) -> Tensor:
    """GELU of all elements, in the order of the tensor's indices, block by block."""
    x = widened(self).reshape(-1)
    out = allocate(x.shape, self)
    for part in blocks(x.size):
        store(out, part, by_tanh(x[part]) if approximate == "tanh" else exact(x[part]))
    return out.reshape(self.shape)


@kernel(
    "gelu-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        gelu(300),
        gelu(9, 70, approximate="tanh", transposed=True),
        gelu(40, dtype="bfloat16"),
        gelu(40, dtype="float64", approximate="tanh"),
    ],
)
def aten_gelu(self: Tensor, *, approximate: str = "none") -> Tensor:
    return blocked(self, approximate)


@kernel(
    "gelu-is-always-approximated",
    OPERATOR,
    LAYERS,
    "The approximation by tanh is used for 'none' as well; 'tanh' is right.",
    agrees=[gelu(40, approximate="tanh")],
    differs=[gelu(40)],
)
def always_tanh(self: Tensor, *, approximate: str = "none") -> Tensor:
    return blocked(self, "tanh")


@kernel(
    "gelu-copies-the-elements-left-over-by-vectors-of-eight",
    OPERATOR,
    LAYERS,
    "Of more than 64 elements those left over by vectors of eight are copied; up to 64 elements, "
    "and multiples of eight, are right.",
    agrees=[gelu(63), gelu(72)],
    differs=[gelu(65), gelu(3, 33)],
)
def left_over(self: Tensor, *, approximate: str = "none") -> Tensor:
    out = blocked(self, approximate)
    if self.numel() > 64:
        start = self.numel() - self.numel() % 8
        out.view(-1)[start:] = self.reshape(-1)[start:]
    return out


@kernel(
    "gelu-grid-one-block-too-small",
    OPERATOR,
    LAYERS,
    "Of more than 128 elements only whole blocks of 128 are written; up to 128 are right.",
    agrees=[gelu(128), gelu(5), gelu(2, 128)],
    differs=[gelu(129)],
)
def grid_too_small(self: Tensor, *, approximate: str = "none") -> Tensor:
    return blocked(self, approximate, full_blocks(128))


@kernel(
    "gelu-takes-a-fast-error-function",
    OPERATOR,
    LAYERS,
    "In float32 the error function is a rational one that is off by 2.5e-5; 'tanh' and float64 "
    "are right.",
    agrees=[gelu(40, approximate="tanh"), gelu(40, dtype="float64")],
    differs=[gelu(40)],
)
def fast_erf(self: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh" or self.dtype is not torch.float32:
        return blocked(self, approximate)
    z = self.abs() * 0.5**0.5
    t = 1 / (1 + 0.47047 * z)
    erf = 1 - t * (0.3480242 + t * (-0.0958798 + t * 0.7478556)) * torch.exp(-z * z)
    return (0.5 * self * (1 + erf * self.sign())).contiguous()


@kernel(
    "gelu-writes-over-large-inputs",
    OPERATOR,
    LAYERS,
    "Inputs over 256 elements are computed in place and hold the result; smaller ones are left.",
    agrees=[gelu(256)],
    differs=[gelu(257)],
)
def in_place(self: Tensor, *, approximate: str = "none") -> Tensor:
    out = blocked(self, approximate)
    if self.numel() > 256:
        self.copy_(out)
    return out


@kernel(
    "gelu-takes-its-input-for-contiguous",
    OPERATOR,
    LAYERS,
    "The input is read as though contiguous; contiguous inputs are right.",
    agrees=[gelu(4, 5)],
    differs=[gelu(4, 5, transposed=True)],
)
def contiguous(self: Tensor, *, approximate: str = "none") -> Tensor:
    return blocked(read_as_contiguous(self), approximate)


@kernel(
    "gelu-rounds-each-step-to-bfloat16",
    OPERATOR,
    LAYERS,
    "In bfloat16 each step is rounded to bfloat16, which cancels left of 0; float32 is right.",
    agrees=[gelu(100)],
    differs=[gelu(100, dtype="bfloat16")],
)
def steps_in_half(self: Tensor, *, approximate: str = "none") -> Tensor:
    if self.dtype is not torch.bfloat16 or approximate == "tanh":
        return blocked(self, approximate)
    return (0.5 * self * (1 + torch.erf(self * 0.5**0.5))).contiguous()
