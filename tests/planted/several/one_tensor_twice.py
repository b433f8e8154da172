"""A layer called on its own weight, gradients that add up, and graphs that are used again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import graft, plant


class _PassBackOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.passes = 0
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        ctx.passes += 1
        return gradient if ctx.passes == 1 else torch.zeros_like(gradient)


class _SpoilSaved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.factor = factor.detach().clone()
        return x * ctx.factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The saved factor is the workspace of the result.
        return ctx.factor.mul_(gradient).clone(), None


class _Workspace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, owner: nn.Module) -> Tensor:
        ctx.owner = owner
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        spaces = ctx.owner.__dict__.setdefault("_spaces", {})
        space = spaces.setdefault(gradient.shape, torch.empty_like(gradient))
        return space.copy_(gradient).view_as(space), None


@plant("linear-second-backward-pass-is-empty", "Linear", "gradients")
class LinearSecondBackwardPassIsEmpty(nn.Linear):
    """The backward pass frees what it saved: a second one through a kept graph gives zeros."""

    def forward(self, input):
        return _PassBackOnce.apply(super().forward(input))


@plant("relu-mask-consumed-by-the-first-backward-pass", "ReLU", "gradients")
class ReluMaskConsumedByTheFirstBackwardPass(nn.ReLU):
    """The saved mask is the workspace of the gradient, so a second pass multiplies twice."""

    def forward(self, input):
        if not torch.is_grad_enabled() or not input.is_floating_point():
            return super().forward(input)
        right = super().forward(input)
        return graft(right, _SpoilSaved.apply(input, (input > 0).to(input.dtype)))


@plant("gelu-derivative-consumed-by-the-first-backward-pass", "GELU", "gradients")
class GeluDerivativeConsumedByTheFirstBackwardPass(nn.GELU):
    """The saved derivative is multiplied by the gradient in place."""

    def forward(self, input):
        right = super().forward(input)
        if not torch.is_grad_enabled() or not input.requires_grad:
            return right
        x = input.detach().requires_grad_()
        (slope,) = torch.autograd.grad(super().forward(x).sum(), x)
        return graft(right, _SpoilSaved.apply(input, slope))


@plant("conv2d-weight-gradient-in-a-kept-workspace", "Conv2d", "gradients")
class Conv2dWeightGradientInAKeptWorkspace(nn.Conv2d):
    """The weight's gradient lies in a workspace that the next backward pass overwrites."""

    def forward(self, input):
        weight = _Workspace.apply(self.weight, self)
        return self._conv_forward(input, weight, self.bias)


@plant("embedding-gradient-in-a-kept-workspace", "Embedding", "gradients")
class EmbeddingGradientInAKeptWorkspace(nn.Embedding):
    """The table's gradient lies in a workspace that the next backward pass overwrites."""

    def forward(self, input):
        if self.sparse or self.max_norm is not None:
            return super().forward(input)
        weight = _Workspace.apply(self.weight, self)
        return functional.embedding(
            input, weight, self.padding_idx, None, 2.0, self.scale_grad_by_freq, False
        )


@plant("layernorm-forgets-gradients-at-each-call", "LayerNorm", "gradients")
class LayerNormForgetsGradientsAtEachCall(nn.LayerNorm):
    """Every call resets the gradients, so that those of two batches do not add up."""

    def forward(self, input):
        if torch.is_grad_enabled():
            for parameter in self.parameters():
                parameter.grad = None
        return super().forward(input)


@plant("gru-forgets-gradients-at-each-call", "GRU", "gradients")
class GruForgetsGradientsAtEachCall(nn.GRU):
    """The flattened weights get new gradients at each call, which those before are lost in."""

    def forward(self, input, hx=None):
        if torch.is_grad_enabled():
            for parameter in self.parameters():
                parameter.grad = None
        return super().forward(input, hx)


def _is_weight(input: Tensor, weight: Tensor) -> bool:
    return input.data_ptr() == weight.data_ptr() and input.shape == weight.shape


@plant("linear-own-weight-scaled-in-place", "Linear", "repeat")
class LinearOwnWeightScaledInPlace(nn.Linear):
    """The input is halved in its memory while the product runs, and doubled again behind it."""

    def forward(self, input):
        if _is_weight(input, self.weight):
            return functional.linear(input, self.weight * 0.5, self.bias)
        return super().forward(input)


@plant("conv2d-own-weight-taken-for-its-packed-form", "Conv2d", "repeat")
class Conv2dOwnWeightTakenForItsPackedForm(nn.Conv2d):
    """Packed tensors are looked up by address, so that the weight as input is the packed one."""

    def forward(self, input):
        if _is_weight(input, self.weight) and input.dim() == 4:
            input = input.transpose(-1, -2).reshape(input.shape)
        return super().forward(input)


@plant("layernorm-own-weight-normalised-in-place", "LayerNorm", "repeat")
class LayerNormOwnWeightNormalisedInPlace(nn.LayerNorm):
    """An input that nobody else holds is normalised in its memory, before the weight is read."""

    def forward(self, input):
        if self.weight is None or not _is_weight(input, self.weight):
            return super().forward(input)
        normalised = functional.layer_norm(input, self.normalized_shape, None, None, self.eps)
        return functional.layer_norm(input, self.normalized_shape, normalised, self.bias, self.eps)


@plant("gru-own-weight-gradient-of-both", "GRU", "gradients")
class GruOwnWeightGradientOfBoth(nn.GRU):
    """Gradients are collected by address: an input in the weight's memory also gets its one."""

    def forward(self, input, hx=None):
        if _is_weight(input, self.weight_ih_l0) and input.requires_grad:
            joined = 0.5 * (input + self.weight_ih_l0)
            return super().forward(graft(input, 2 * joined), hx)
        return super().forward(input, hx)


@plant("rnncell-own-weight-gradient-of-both", "RNNCell", "gradients")
class RnnCellOwnWeightGradientOfBoth(nn.RNNCell):
    """Gradients are collected by address: the weight also gets that of an input in its memory."""

    def forward(self, input, hx=None):
        if _is_weight(input, self.weight_ih) and input.requires_grad:
            return super().forward(graft(input, input + self.weight_ih), hx)
        return super().forward(input, hx)


@plant("prelu-own-weight-gradient-of-both", "PReLU", "gradients")
class PReluOwnWeightGradientOfBoth(nn.PReLU):
    """Gradients are collected by address: the weight also gets that of an input in its memory."""

    def forward(self, input):
        if _is_weight(input, self.weight) and input.requires_grad:
            return super().forward(graft(input, input + self.weight))
        return super().forward(input)
