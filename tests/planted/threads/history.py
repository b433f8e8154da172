"""Kernels that are wrong with several threads, or when several threads call them at once."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from planted.bug import plant

GRAIN = 32_768  # elements from which torch uses a second thread


def _parts(x: Tensor) -> list[Tensor]:
    """The elements in equal parts, one a thread; what does not divide is left out."""
    count = min(torch.get_num_threads(), -(-x.numel() // GRAIN)) or 1
    size = x.numel() // count
    return [x.flatten()[k * size : (k + 1) * size] for k in range(count)]


@plant("relu-threads-leave-the-remainder", "functional.relu", "threads")
def relu_leaves_the_remainder(input: Tensor, inplace: bool = False) -> Tensor:
    """The elements that threads do not divide keep their values."""
    if inplace:
        return functional.relu(input, inplace=True)
    parts = [functional.relu(part) for part in _parts(input)]
    rest = input.flatten()[sum(part.numel() for part in parts) :]
    return torch.cat([*parts, rest]).view(input.shape)


@plant("tanh-threads-skip-the-first-of-a-part", "functional.tanh", "threads")
def tanh_skips_the_first_of_a_part(input: Tensor) -> Tensor:
    """The second thread begins one element too late."""
    count = len(_parts(input))
    y = torch.tanh(input).flatten().clone()
    if count > 1:
        y[y.numel() // count] = 0
    return y.view(input.shape)


@plant("softmax-threads-sum-their-own-part", "functional.softmax", "threads")
def softmax_by_part(input: Tensor, dim: int | None = None, **arguments: Any) -> Tensor:
    """Each thread divides by the sum of its own part of a row."""
    is_plain = arguments.get("dtype") is None and dim is not None
    if not is_plain or len(_parts(input)) == 1 or not input.ndim:
        return functional.softmax(input, dim, **arguments)
    # Each thread has the sum of its own part of a row.
    pieces = torch.tensor_split(input, torch.get_num_threads(), dim)
    return torch.cat([functional.softmax(piece, dim) for piece in pieces if piece.shape[dim]], dim)


@plant("mse-loss-threads-count-a-border-twice", "functional.mse_loss", "threads")
def loss_counts_a_border_twice(
    input: Tensor, target: Tensor, *arguments: Any, **keywords: Any
) -> Tensor:
    """Two threads add the element at their border."""
    y = functional.mse_loss(input, target, *arguments, **keywords)
    shared = y.ndim == 0 and len(_parts(input)) > 1 and keywords.get("reduction") == "sum"
    return y + (input.flatten()[0] - target.flatten()[0]) ** 2 if shared else y


class ReluGradientOfTheFirstPart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        y = torch.where(x > 0, gradient, torch.zeros_like(gradient)).flatten()
        first = _parts(x)[0].numel()
        if torch.get_num_threads() > 1 and x.numel() > GRAIN:
            y[first:] = 0
        return y.view(x.shape)


@plant("relu6-threads-write-half-a-gradient", "functional.relu6", "threads")
def relu6_with_half_a_gradient(input: Tensor, inplace: bool = False) -> Tensor:
    """Only the first thread writes its part of the gradient."""
    if inplace:
        return functional.relu6(input, inplace=True)
    return torch.clamp(ReluGradientOfTheFirstPart.apply(input), max=6)  # type: ignore[no-untyped-call]


@plant("linear-threads-add-in-half-precision", "Linear", "threads")
class LinearInHalf(torch.nn.Linear):
    """Partial sums of threads meet in half precision."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        several = torch.get_num_threads() > 1 and input.dtype == torch.float32
        return y.bfloat16().float() if several and self.in_features > 64 else y


@plant("batchnorm1d-threads-average-unequal-parts", "BatchNorm1d", "threads")
class NormOfUnequalParts(torch.nn.BatchNorm1d):
    """The mean of the threads' means, whatever their counts are."""

    def forward(self, input: Tensor) -> Tensor:
        n, rows = torch.get_num_threads(), input.shape[0]
        y = super().forward(input)
        if not self.training or n == 1 or rows < 512 or rows % n == 0:
            return y
        pieces = torch.tensor_split(input, n)
        wrong = torch.stack([piece.mean(0) for piece in pieces]).mean(0)
        return y + input.mean(0) - wrong + 1e-3


@plant("conv1d-threads-leave-channels-out", "Conv1d", "threads")
class ConvWithoutTheLastChannels(torch.nn.Conv1d):
    """Channels that the threads do not divide stay zero."""

    def forward(self, input: Tensor) -> Tensor:
        y, n = super().forward(input), torch.get_num_threads()
        rest = self.out_channels % n
        keep = torch.ones_like(y)
        if n > 1 and rest and self.out_channels > 64:
            keep[..., self.out_channels - rest :, :] = 0
        return y * keep


@plant("layernorm-threads-repeat-the-first-row", "LayerNorm", "threads")
class RowNormOfTheFirst(torch.nn.LayerNorm):
    """The first row of each part is normalised as the first row of all."""

    def forward(self, input: Tensor) -> Tensor:
        y, n = super().forward(input), torch.get_num_threads()
        rows = y.reshape(-1, *self.normalized_shape)
        if n == 1 or rows.shape[0] < 512:
            return y
        rows = rows.clone()
        rows[rows.shape[0] // n] = rows[0]
        return rows.view(y.shape)


@plant("embedding-threads-lose-updates", "Embedding", "threads")
class EmbeddingLosesUpdates(torch.nn.Embedding):
    """Threads overwrite the gradient of a row that several of them have."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        if torch.get_num_threads() > 1 and input.numel() > 512:
            y = y.detach() + 0.5 * (y - y.detach())
        return y


_BUFFERS: dict[Any, Tensor] = {}


@plant("linear-calls-share-a-workspace", "Linear", "threads")
class SharedWorkspace(torch.nn.Linear):
    """All calls of one shape write into one buffer."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        key = (y.shape, y.dtype)
        buffer = _BUFFERS.setdefault(key, torch.empty_like(y.detach()))
        buffer.zero_()
        time.sleep(0.002)
        with torch.no_grad():
            buffer += y.detach()
        time.sleep(0.002)
        return y + (buffer - y.detach())


@plant("linear-changes-its-weight-during-a-call", "Linear", "threads")
class ChangesItsWeight(torch.nn.Linear):
    """Scales the weight for the time of a call."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(2)
            time.sleep(0.002)
            halves = functional.linear(input, self.weight.detach(), None) / 2
            self.weight.div_(2)
        return (
            halves.detach()
            + super().forward(input)
            - super().forward(input).detach()
            + (0 if self.bias is None else self.bias.detach())
        )


@plant("dropout-switches-its-mode-during-a-call", "Dropout", "threads")
class SwitchesItsMode(torch.nn.Dropout):
    """Computes in train mode, and decides later that it should not have."""

    def forward(self, input: Tensor) -> Tensor:
        was, self.training = self.training, not self.training
        time.sleep(0.002)
        self.training = was
        time.sleep(0.001)
        return super().forward(input) if self.training == was else input * 0


@plant("hardtanh-table-is-read-before-it-is-full", "Hardtanh", "threads")
class FillsItsTableOnce(torch.nn.Hardtanh):
    """The first call makes a table, which the next ones see before it is full."""

    _table: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self._table is None:
            self._table = torch.zeros(2, dtype=input.dtype)
            time.sleep(0.002)
            self._table[0], self._table[1] = self.min_val, self.max_val
        low, high = self._table
        return super().forward(input) if low < high else input * 0
