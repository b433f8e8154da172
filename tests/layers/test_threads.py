"""The check `threads`: bugs of several threads, and of calls at once, fail it alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import first_failure
from torch import Tensor
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.items.planning import Item
from conformance.run.engine import Engine

GRAIN = 32_768  # elements from which torch uses a second thread


def _parts(x: Tensor) -> list[Tensor]:
    """The elements in equal parts, one a thread; what does not divide is left out."""
    count = min(torch.get_num_threads(), -(-x.numel() // GRAIN)) or 1
    size = x.numel() // count
    return [x.flatten()[k * size : (k + 1) * size] for k in range(count)]


def relu_leaves_the_remainder(input: Tensor, inplace: bool = False) -> Tensor:
    if inplace:
        return functional.relu(input, inplace=True)
    parts = [functional.relu(part) for part in _parts(input)]
    rest = input.flatten()[sum(part.numel() for part in parts) :]
    return torch.cat([*parts, rest]).view(input.shape)


def tanh_skips_the_first_of_a_part(input: Tensor) -> Tensor:
    count = len(_parts(input))
    y = torch.tanh(input).flatten().clone()
    if count > 1:
        y[y.numel() // count] = 0
    return y.view(input.shape)


def softmax_by_part(input: Tensor, dim: int | None = None, **arguments: Any) -> Tensor:
    is_plain = arguments.get("dtype") is None and dim is not None
    if not is_plain or len(_parts(input)) == 1 or not input.ndim:
        return functional.softmax(input, dim, **arguments)
    # Each thread has the sum of its own part of a row.
    pieces = torch.tensor_split(input, torch.get_num_threads(), dim)
    return torch.cat([functional.softmax(piece, dim) for piece in pieces if piece.shape[dim]], dim)


def loss_counts_a_border_twice(
    input: Tensor, target: Tensor, *arguments: Any, **keywords: Any
) -> Tensor:
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


def relu6_with_half_a_gradient(input: Tensor, inplace: bool = False) -> Tensor:
    if inplace:
        return functional.relu6(input, inplace=True)
    return torch.clamp(ReluGradientOfTheFirstPart.apply(input), max=6)  # type: ignore[no-untyped-call]


class LinearInHalf(torch.nn.Linear):
    """Partial sums of threads meet in half precision."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        several = torch.get_num_threads() > 1 and input.dtype == torch.float32
        return y.bfloat16().float() if several and self.in_features > 64 else y


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


class ConvWithoutTheLastChannels(torch.nn.Conv1d):
    def forward(self, input: Tensor) -> Tensor:
        y, n = super().forward(input), torch.get_num_threads()
        rest = self.out_channels % n
        keep = torch.ones_like(y)
        if n > 1 and rest and self.out_channels > 64:
            keep[..., self.out_channels - rest :, :] = 0
        return y * keep


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


class EmbeddingLosesUpdates(torch.nn.Embedding):
    """Threads overwrite the gradient of a row that several of them have."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        if torch.get_num_threads() > 1 and input.numel() > 512:
            y = y.detach() + 0.5 * (y - y.detach())
        return y


_BUFFERS: dict[Any, Tensor] = {}


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


class SwitchesItsMode(torch.nn.Dropout):
    """Computes in train mode, and decides later that it should not have."""

    def forward(self, input: Tensor) -> Tensor:
        was, self.training = self.training, not self.training
        time.sleep(0.002)
        self.training = was
        time.sleep(0.001)
        return super().forward(input) if self.training == was else input * 0


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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "functional.relu": relu_leaves_the_remainder,
    "functional.tanh": tanh_skips_the_first_of_a_part,
    "functional.softmax": softmax_by_part,
    "functional.mse_loss": loss_counts_a_border_twice,
    "functional.relu6": relu6_with_half_a_gradient,
}
MODULES: dict[str, type[torch.nn.Module]] = {
    "Linear": LinearInHalf,
    "BatchNorm1d": NormOfUnequalParts,
    "Conv1d": ConvWithoutTheLastChannels,
    "LayerNorm": RowNormOfTheFirst,
    "Embedding": EmbeddingLosesUpdates,
    "Dropout": SwitchesItsMode,
    "Hardtanh": FillsItsTableOnce,
}
AT_ONCE = {"shared workspace": SharedWorkspace, "changes its weight": ChangesItsWeight}


def _backend(layer: str, planted: Any) -> ModuleBackend:
    name = layer.rpartition(".")[2]
    nn, spaces = dict(vars(torch.nn)), dict(vars(functional))
    (spaces if "functional." in layer else nn)[name] = planted
    return ModuleBackend("planted", SimpleNamespace(**nn), SimpleNamespace(**spaces))


CASES = {
    **{layer: (layer, planted) for layer, planted in {**FUNCTIONS, **MODULES}.items()},
    **{name: ("Linear", planted) for name, planted in AT_ONCE.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_a_bug_of_threads_fails_this_check_alone(name: str) -> None:
    layer, planted = CASES[name]
    verdict = Engine(_backend(layer, planted), 200, 0).run(Item(layer, "threads", "float32", "cpu"))
    assert verdict.status == "failed", verdict
    assert "threads" in str(verdict.message)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for check in ("values", "gradients"):
            assert not first_failure(_backend(layer, planted), layer, check, enough=20).failure
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("layer", ["functional.relu", "Linear", "LayerNorm", "functional.mse_loss"])
def test_torch_passes(layer: str) -> None:
    before = torch.get_num_threads()
    verdict = Engine(ModuleBackend("torch"), 200, 0).run(Item(layer, "threads", "float32", "cpu"))
    assert verdict.status == "passed", verdict.message
    assert torch.get_num_threads() == before


def test_a_backend_without_threads_says_so() -> None:
    class OneThread(ModuleBackend):
        use_threads = None  # type: ignore[assignment]

    verdict = Engine(OneThread("one"), 40, 0).run(Item("Linear", "threads", "float32", "cpu"))
    assert verdict.status == "unsupported"
    assert "use_threads not offered" in str(verdict)
