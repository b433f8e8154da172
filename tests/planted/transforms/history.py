"""Transforms that are wrong as torch's own were, or as its users' functions are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import plant


class _HardsigmoidOfFloat32(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return functional.hardsigmoid(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > -3) & (x < 3), gradient / 6, torch.zeros_like(gradient))

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inside = (x > -3) & (x < 3)
        return torch.where(inside, tangent * 0.16, torch.zeros_like(tangent))


@plant("hardsigmoid-jvp-multiplies-by-a-short-constant", "functional.hardsigmoid", "transforms")
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Forward mode has 0.16 where 1/6 is due; torch's own has 1/6 in float32."""
    if inplace:
        return functional.hardsigmoid(input, inplace=True)
    return _HardsigmoidOfFloat32.apply(input)


class _TanhOnce(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.tanh(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.slope = (1 - output * output).detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.slope


@plant("tanh-double-backward-keeps-the-slope", "functional.tanh", "transforms")
def tanh(input: Tensor) -> Tensor:
    """The slope is a constant of the backward pass, so second derivatives by the input are 0."""
    return _TanhOnce.apply(input)


class _SquaredOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            slope = 2 * x
        return gradient * slope


@plant("mse-loss-double-backward-without-gradients", "functional.mse_loss", "transforms")
def mse_loss(
    input: Tensor, target: Tensor, *arguments: Any, reduction: str = "mean", **keywords: Any
) -> Tensor:
    """The slope of the square is computed without gradients."""
    if arguments or any(x is not None for x in keywords.values()) or input.shape != target.shape:
        return functional.mse_loss(input, target, *arguments, reduction=reduction, **keywords)
    losses = _SquaredOnce.apply(input - target)
    return {"mean": losses.mean, "sum": losses.sum}.get(reduction, lambda: losses)()


class _SoftmaxOfLastAxis(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, dim: int) -> Tensor:
        return torch.softmax(x, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return y * (gradient - (gradient * y).sum(ctx.dim, keepdim=True)), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, dim: int) -> tuple[Tensor, int]:
        moved = x.movedim(in_dims[0], 0)
        return torch.softmax(moved, dim), 0


@plant("softmax-vmap-takes-the-batch-for-an-axis", "functional.softmax", "transforms")
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Under vmap an axis that counts from the front counts the batch, too."""
    if dim is None or dtype is not None or input.ndim < 2:
        return functional.softmax(input, dim, _stacklevel, dtype)
    return _SoftmaxOfLastAxis.apply(input, dim)


@plant("linear-jvp-takes-the-weight-for-a-constant", "Linear", "transforms")
class Linear(nn.Linear):
    """Forward mode forgets the tangent of the weight, as if only inputs had one."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2 or not input.numel():
            return super().forward(input)
        y = _LinearOfInput.apply(input, self.weight)
        return y if self.bias is None else y + self.bias


class _LinearOfInput(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.flatten(0, -2).T @ x.flatten(0, -2)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, weight_tangent: Tensor) -> Tensor:
        _, weight = ctx.saved_tensors
        return functional.linear(tangent, weight)


@plant("batchnorm1d-double-backward-loses-half", "BatchNorm1d", "transforms")
class BatchNorm1d(nn.BatchNorm1d):
    """Half of the gradient is cut off from its graph, and gradients of gradients lack it."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        if not self.training or not input.numel() or not y.requires_grad:
            return y
        return _SameNumbers.apply(y, input)


class _SameNumbers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.detach() / 2 + gradient / 2, None


class _LogSigmoidSlope(torch.autograd.Function):
    """gradient · sigmoid(−x), with rules of its own for vmap and forward mode."""

    @staticmethod
    def forward(gradient: Tensor, x: Tensor) -> Tensor:
        return gradient * torch.sigmoid(-x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        first, x = ctx.saved_tensors
        bend = -first * torch.sigmoid(x) * torch.sigmoid(-x)
        return gradient * torch.sigmoid(-x), gradient * bend

    @staticmethod
    def jvp(ctx: Any, of_gradient: Tensor, of_x: Tensor) -> Tensor:
        first, x = ctx.saved_tensors
        bend = -first * torch.sigmoid(x) * torch.sigmoid(-x)
        return of_gradient * torch.sigmoid(-x) + of_x * bend

    @staticmethod
    def vmap(info: Any, in_dims: Any, gradient: Tensor, x: Tensor) -> tuple[Tensor, int]:
        gradient, x = (
            y.expand(info.batch_size, *y.shape) if axis is None else y.movedim(axis, 0)
            for y, axis in zip((gradient, x), in_dims, strict=True)
        )
        return _LogSigmoidSlope.apply(gradient, x), 0


class _LogSigmoid(torch.autograd.Function):
    generate_vmap_rule = True
    slope: type[torch.autograd.Function] = _LogSigmoidSlope

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return functional.logsigmoid(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def backward(cls, ctx: Any, gradient: Tensor) -> Tensor:
        return cls.slope.apply(gradient, *ctx.saved_tensors)

    @classmethod
    def jvp(cls, ctx: Any, tangent: Tensor) -> Tensor:
        return cls.slope.apply(tangent, *ctx.saved_tensors)


class _SlopeOfTheFirst(_LogSigmoidSlope):
    @staticmethod
    def vmap(info: Any, in_dims: Any, gradient: Tensor, x: Tensor) -> tuple[Tensor, int]:
        x = x if in_dims[1] is None else x.select(in_dims[1], 0)
        return _LogSigmoidSlope.vmap(info, (in_dims[0], None), gradient, x)


class _LogSigmoidOfTheFirst(_LogSigmoid):
    slope = _SlopeOfTheFirst


@plant("logsigmoid-backward-vmap-reads-the-first-slice", "functional.logsigmoid", "transforms")
def logsigmoid_per_sample(input: Tensor) -> Tensor:
    """Gradients under vmap have the slope of the first slice in all slices."""
    return _LogSigmoidOfTheFirst.apply(input)


class _SlopeThatStands(_LogSigmoidSlope):
    @staticmethod
    def jvp(ctx: Any, of_gradient: Tensor, of_x: Tensor) -> Tensor:
        _, x = ctx.saved_tensors
        return of_gradient * torch.sigmoid(-x)


class _LogSigmoidOfOneSlope(_LogSigmoid):
    slope = _SlopeThatStands


@plant("logsigmoid-forward-over-reverse-keeps-the-slope", "functional.logsigmoid", "transforms")
def logsigmoid_over_reverse(input: Tensor) -> Tensor:
    """In forward mode over a backward pass the slope does not move with the input."""
    return _LogSigmoidOfOneSlope.apply(input)
