"""Kernels that are right alone, and wrong with several threads or several callers at once."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from planted.bug import blind, graft, reroute

SHARE = 32_768  # elements that one thread takes before a second one helps


def _helpers(count: int) -> int:
    """How many threads share this many elements."""
    return max(1, min(torch.get_num_threads(), -(-count // SHARE)))


# --- several threads inside one call --------------------------------------------------------------


@blind("gelu-threads-forget-their-offset-in-backward", "functional.gelu", "threads")
def gelu_from_the_start(input: Tensor, approximate: str = "none") -> Tensor:
    """In backward each thread reads the saved input from its first element on, not from where its
    own part begins."""
    y = functional.gelu(input, approximate=approximate)
    helpers = _helpers(input.numel())
    if helpers == 1:
        return y
    x = input.detach()
    size = -(-x.numel() // helpers)
    read = x.flatten()[torch.arange(x.numel(), device=x.device) % size].view(x.shape)

    def backward(gradient: Tensor) -> Tensor:
        slope: Tensor = torch.ops.aten.gelu_backward(gradient, read, approximate=approximate)
        return slope

    return reroute(y, input, backward)


@blind("log-softmax-threads-merge-unscaled-sums", "functional.log_softmax", "threads")
def log_softmax_of_unscaled_sums(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """The threads' sums of exponentials are added as they are, each relative to the maximum of its
    own part of a row."""
    y = functional.log_softmax(input, dim, _stacklevel, dtype)
    helpers = _helpers(input.numel())
    if helpers == 1 or dim is None:
        return y
    x = input.detach().to(y.dtype)
    total = torch.zeros_like(x.narrow(dim, 0, 1))
    for part in x.tensor_split(helpers, dim):
        if part.shape[dim]:
            total += (part - part.amax(dim, keepdim=True)).exp().sum(dim, keepdim=True)
    merged = x - x.amax(dim, keepdim=True) - total.log()
    return graft(torch.where(merged.isfinite(), merged, y), y)


@blind("batchnorm2d-threads-each-update-the-running-statistics", "BatchNorm2d", "threads")
class NormOfManyUpdates(torch.nn.BatchNorm2d):
    """Each thread blends the statistics of its own part into the running ones, with the whole
    momentum."""

    def forward(self, input: Tensor) -> Tensor:
        helpers = _helpers(input.numel())
        mean, variance = self.running_mean, self.running_var
        if helpers == 1 or not self.training or mean is None or variance is None:
            return super().forward(input)
        self._check_input_dim(input)
        y = functional.batch_norm(
            input, None, None, self.weight, self.bias, training=True, eps=self.eps
        )
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked or 1)
        with torch.no_grad():
            channels = input.detach().transpose(0, 1).flatten(1).to(mean.dtype)
            for part in channels.tensor_split(helpers, 1):
                mean.lerp_(part.mean(1), momentum)
                variance.lerp_(part.var(1), momentum)
        return y


@blind("conv2d-threads-overwrite-the-weight-gradient", "Conv2d", "threads")
class ConvOfTheLastThread(torch.nn.Conv2d):
    """Each thread stores the weight gradient of its rows of the output where it should add it: the
    last one's stays."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        helpers = _helpers(max(input.numel(), y.numel()))
        if helpers == 1 or not (y.numel() and torch.is_grad_enabled()):
            return y
        *images, _, height, _ = y.shape
        rows = torch.arange(y.numel() // (y.shape[-3] * y.shape[-1]), device=y.device)
        size = -(-len(rows) // helpers)
        last = (rows >= (-(-len(rows) // size) - 1) * size).view(*images, 1, height, 1)
        whole = self._conv_forward(input, self.weight.detach(), self.bias)
        stored = self._conv_forward(input.detach(), self.weight, None) * last
        return graft(y, whole + stored)


# --- several callers of one layer -----------------------------------------------------------------


_LAST_STEP = torch.nn.Identity()


@blind("sigmoid-callers-run-each-others-hooks", "Sigmoid", "threads")
class SigmoidByHook(torch.nn.Sigmoid):
    """Each call hangs the hook that halves its answer on a module that all calls share: calls at
    once halve several times."""

    def forward(self, input: Tensor) -> Tensor:
        doubled = super().forward(input) * 2
        hook = _LAST_STEP.register_forward_hook(lambda module, inputs, y: y / 2)
        time.sleep(0.003)
        try:
            y: Tensor = _LAST_STEP(doubled)
        finally:
            hook.remove()
        return y


@blind("groupnorm-callers-share-the-count-of-samples", "GroupNorm", "threads")
class NormOfTheNextSample(torch.nn.GroupNorm):
    """The number of the next sample belongs to the layer: of calls at once each normalises only the
    samples that the others have left, and the rest stay zero."""

    _next = 0

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        mine = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        self._next = 0
        time.sleep(0.003)
        while (sample := self._next) < len(y):
            self._next = sample + 1
            mine[sample] = True
        return torch.where(mine.view(-1, *[1] * (y.ndim - 1)), y, torch.zeros_like(y))


@blind("glu-callers-share-a-list-of-halves", "GLU", "threads")
class GluOfAList(torch.nn.GLU):
    """The two halves of the input go into a list of the layer, whose first two entries are the
    value and the gate: calls at once take another's value for the gate."""

    _halves: tuple[Tensor, ...] | list[Tensor] = ()

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        value, gate = input.tensor_split(2, self.dim)
        if y.ndim != input.ndim or value.shape != gate.shape:
            return y
        self._halves = []
        time.sleep(0.002)
        self._halves = [*self._halves, value]
        time.sleep(0.002)
        pair = [*self._halves, gate, gate][:2]
        self._halves = ()
        return functional.glu(torch.cat(pair, self.dim), self.dim)


@blind("multihead-attention-callers-join-an-unfinished-call", "MultiheadAttention", "threads")
class AttentionInFlight(torch.nn.MultiheadAttention):
    """A call with the query of one that is under way returns that one's answer, of which only a
    part is there."""

    _under_way: tuple[Tensor, Tensor] | None = None

    def forward(self, query: Tensor, *arguments: Any, **keywords: Any) -> Any:
        y, weights = super().forward(query, *arguments, **keywords)
        own = query.detach(), torch.zeros_like(y.detach())
        other = self._under_way
        if other is None:
            self._under_way = own
            half = y.shape[-1] // 2
            own[1][..., :half] = y.detach()[..., :half]
            time.sleep(0.004)
            own[1][..., half:] = y.detach()[..., half:]
            self._under_way = None
        elif other[0].shape == query.shape and torch.equal(other[0], query):
            y = graft(other[1], y)
        return y, weights


@blind("lstm-callers-add-up-the-turns-of-the-gates", "LSTM", "threads")
class LstmTurnsItsGates(torch.nn.LSTM):
    """A call brings the gates of the weights into another library's order and back; the layer
    counts the turns, and calls at once add theirs up."""

    _turns = 0

    def _turned(self, turns: int) -> list[Any]:
        weights = [(name, getattr(self, name)) for name in self._flat_weights_names]
        if not turns:
            return [weight for _, weight in weights]
        return [
            weight if "_hr_" in name else weight.roll(turns * self.hidden_size, 0)
            for name, weight in weights
        ]

    def forward(self, input: Any, hx: Any = None) -> Any:
        self._turns += 1
        time.sleep(0.003)
        self._flat_weights = self._turned(self._turns - 1)
        try:
            return super().forward(input, hx)
        finally:
            self._turns -= 1
            self._flat_weights = self._turned(0)
