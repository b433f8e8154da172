"""Kernels right in value and gradient, but wrong under a transform: written blind.

Each is a `torch.autograd.Function` around torch's own function, of which one method is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.nn import functional

from planted.bug import blind


class Wrapped(torch.autograd.Function):
    """A function of tensors, with the derivatives and the batching that are truly its own."""

    @staticmethod
    def forward(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        return function(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.function, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *pull_back(ctx.function, ctx.saved_tensors, gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        return push_forward(ctx.function, ctx.saved_tensors, tangents)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        return vmap(function, in_dims[1:], randomness=info.randomness)(*tensors), 0

    @classmethod
    def of(cls, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """The value of the function, with this class's derivatives and batching."""
        result: Tensor = cls.apply(function, *tensors)  # type: ignore[no-untyped-call]
        return result


def pull_back(
    function: Callable[..., Tensor], tensors: tuple[Tensor, ...], gradient: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of a function's arguments from that of its result."""
    # What outlives the transform that saved it has to be taken out of it: any operation does that.
    tensors = tuple(tensor.view_as(tensor) for tensor in tensors)
    gradients: tuple[Tensor, ...] = vjp(function, *tensors)[1](gradient)
    return gradients


def push_forward(
    function: Callable[..., Tensor],
    tensors: tuple[Tensor, ...],
    tangents: tuple[Tensor | None, ...],
) -> Tensor:
    """The tangent of a function's result: its pullback is linear, and this is the transpose."""
    y, pullback, *_ = vjp(function, *tensors)
    _, transpose, *_ = vjp(pullback, torch.zeros_like(y))
    (tangent,) = transpose(tuple(map(or_zeros, tangents, tensors)))
    result: Tensor = tangent
    return result


def or_zeros(tangent: Tensor | None, tensor: Tensor) -> Tensor:
    """A tangent; zeros where a tensor has none."""
    return torch.zeros_like(tensor) if tangent is None else tangent


def are_plain(*tensors: Any) -> bool:
    """Whether all are tensors of one dtype, single or double, that have elements."""
    return (
        all(isinstance(tensor, Tensor) and tensor.numel() for tensor in tensors)
        and len({tensor.dtype for tensor in tensors}) == 1
        and tensors[0].dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(tensors[0].device.type)
    )


# Forward mode.


class SoftmaxTangentOverTheLastAxis(Wrapped):
    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        (x,) = ctx.saved_tensors
        y, dx = ctx.function(x), or_zeros(tangents[0], x)
        result: Tensor = y * (dx - (y * dx).sum(-1, keepdim=True))
        return result


@blind("softmax-jvp-sums-over-the-last-axis", "functional.softmax", "transforms")
def softmax_tangent_over_the_last_axis(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """The tangent is centred along the last axis, whatever `dim` is."""
    if dim is None or dtype is not None or not are_plain(input) or not input.ndim:
        return functional.softmax(input, dim, _stacklevel, dtype)
    return SoftmaxTangentOverTheLastAxis.of(partial(torch.softmax, dim=dim), input)


class NormTangentWithoutTheWeights(Wrapped):
    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        x, weight, *_ = ctx.saved_tensors
        dx, _weight, *bias = map(or_zeros, tangents, ctx.saved_tensors)
        axes = tuple(range(-weight.ndim, 0))
        scale = (x.var(axes, correction=0, keepdim=True) + ctx.function.keywords["eps"]).rsqrt()
        y = (x - x.mean(axes, keepdim=True)) * scale
        centred = dx - dx.mean(axes, keepdim=True) - y * (y * dx).mean(axes, keepdim=True)
        tangent: Tensor = scale * centred * weight
        return tangent + bias[0] if bias else tangent


def _layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    normalized_shape: tuple[int, ...],
    eps: float,
) -> Tensor:
    return functional.layer_norm(x, list(normalized_shape), weight, bias, eps)


@blind("layernorm-jvp-forgets-the-weights-tangent", "LayerNorm", "transforms")
class NormForgetsTheWeightsTangent(torch.nn.LayerNorm):
    """Forward mode takes the weight for a constant; the input's and the bias's tangents count."""

    def forward(self, input: Tensor) -> Tensor:
        affine = [tensor for tensor in (self.weight, self.bias) if tensor is not None]
        if not affine or not are_plain(input, *affine):
            return super().forward(input)
        norm = partial(_layer_norm, normalized_shape=self.normalized_shape, eps=self.eps)
        return NormTangentWithoutTheWeights.of(norm, input, *affine)


class BilinearTangentAsADifference(Wrapped):
    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        first, second, weight, *bias = ctx.saved_tensors
        d_first, d_second, d_weight, *d_bias = map(or_zeros, tangents, ctx.saved_tensors)
        # f(x + dx) - f(x), multiplied out.
        y = functional.bilinear(d_first, second + d_second, weight)
        y = y + functional.bilinear(first, d_second, weight)
        y = y + functional.bilinear(first, second, d_weight)
        return y + d_bias[0] if bias else y


@blind("bilinear-jvp-keeps-the-product-of-tangents", "Bilinear", "transforms")
class BilinearKeepsTheProductOfTangents(torch.nn.Bilinear):
    """The product of both inputs' tangents, a second-order term, stays in the output's tangent."""

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        tensors = [input1, input2, self.weight, *([] if self.bias is None else [self.bias])]
        if not are_plain(*tensors):
            return super().forward(input1, input2)
        return BilinearTangentAsADifference.of(functional.bilinear, *tensors)


class LossTangentOfASum(Wrapped):
    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        d_input, d_target = map(or_zeros, tangents, ctx.saved_tensors)
        return push_forward(ctx.function, ctx.saved_tensors, (d_input + d_target, None))


@blind("mse-loss-jvp-adds-the-targets-tangent", "functional.mse_loss", "transforms")
def mse_loss_adds_the_targets_tangent(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The target's tangent has the wrong sign."""
    is_plain = size_average is None and reduce is None and weight is None
    if not is_plain or not are_plain(input, target) or input.shape != target.shape:
        return functional.mse_loss(input, target, size_average, reduce, reduction, weight)
    return LossTangentOfASum.of(partial(functional.mse_loss, reduction=reduction), input, target)


# Second derivatives.


class LogSoftmaxWithAConstantSum(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        total = gradient.detach().sum(ctx.function.keywords["dim"], keepdim=True)
        return None, gradient - ctx.function(x).exp() * total


@blind("log-softmax-double-backward-detaches-the-sum", "functional.log_softmax", "transforms")
def log_softmax_detaches_the_sum(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """The sum of the incoming gradients is a constant to double backward."""
    if dim is None or dtype is not None or not are_plain(input) or not input.ndim:
        return functional.log_softmax(input, dim, _stacklevel, dtype)
    return LogSoftmaxWithAConstantSum.of(partial(torch.log_softmax, dim=dim), input)


class RmsNormWithAConstantScale(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *weight = ctx.saved_tensors
        count, eps = len(ctx.function.keywords["normalized_shape"]), ctx.function.keywords["eps"]
        axes = tuple(range(-count, 0))
        # As a kernel does that keeps this number from its forward pass.
        scale = (x.square().mean(axes, keepdim=True) + eps).rsqrt().detach()
        g = gradient * weight[0] if weight else gradient
        slope = -0.5 * (g * x).sum(axes, keepdim=True) * scale**3
        x_gradient = g * scale + slope / x.shape[-count:].numel() * (2 * x)
        return None, x_gradient, *((gradient * (x * scale)).sum_to_size(w.shape) for w in weight)


def _rms_norm(x: Tensor, *weight: Tensor, normalized_shape: tuple[int, ...], eps: float) -> Tensor:
    return functional.rms_norm(x, list(normalized_shape), weight[0] if weight else None, eps)


@blind("rms-norm-double-backward-keeps-the-scale-constant", "functional.rms_norm", "transforms")
def rms_norm_keeps_the_scale_constant(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """The root mean square that the forward pass saves does not depend on the input any more."""
    tensors = [input, *([] if weight is None else [weight])]
    shape = tuple(normalized_shape)
    fits = bool(shape) and tuple(input.shape[-len(shape) :]) == shape
    if not are_plain(*tensors) or not fits:
        return functional.rms_norm(input, normalized_shape, weight, eps)
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    norm = partial(_rms_norm, normalized_shape=shape, eps=eps)
    return RmsNormWithAConstantScale.of(norm, *tensors)


class LinearWithAFusedWeightGradient(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *bias = pull_back(ctx.function, ctx.saved_tensors, gradient)
        return None, x, weight.detach(), *bias


@blind("linear-double-backward-ends-at-the-weight-gradient", "Linear", "transforms")
class LinearEndsAtTheWeightGradient(torch.nn.Linear):
    """The weight's gradient is computed outside the graph, as by a kernel that accumulates it."""

    def forward(self, input: Tensor) -> Tensor:
        tensors = [input, self.weight, *([] if self.bias is None else [self.bias])]
        if not are_plain(*tensors):
            return super().forward(input)
        return LinearWithAFusedWeightGradient.of(functional.linear, *tensors)


class RecomputedFromDetached(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors = tuple(tensor.detach() for tensor in ctx.saved_tensors)
        return None, *pull_back(ctx.function, tensors, gradient)


@blind("grucell-double-backward-recomputes-from-detached", "GRUCell", "transforms")
class GRUCellRecomputesFromDetached(torch.nn.GRUCell):
    """The backward pass recomputes the cell from detached tensors, as home-made checkpoints do."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if hx is None or not self.bias or input.ndim != 2 or hx.ndim != 2:
            return super().forward(input, hx)
        tensors = [input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        sizes = [(len(input), self.input_size), (len(input), self.hidden_size)]
        if not are_plain(*tensors) or [tuple(input.shape), tuple(hx.shape)] != sizes:
            return super().forward(input, hx)
        return RecomputedFromDetached.of(torch.gru_cell, *tensors)


class SoftplusSlope(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        incoming, x = ctx.saved_tensors
        beta, threshold = ctx.function.keywords["beta"], ctx.function.keywords["threshold"]
        s = torch.sigmoid(beta * x)
        curvature = torch.where(beta * x > threshold, 0.0, s * (1 - s))
        return None, ctx.function(gradient, x), gradient * incoming * curvature


class SoftplusOfThatSlope(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        slope = partial(torch.ops.aten.softplus_backward, **ctx.function.keywords)
        return None, SoftplusSlope.of(slope, gradient, *ctx.saved_tensors)


@blind("softplus-double-backward-forgets-beta", "functional.softplus", "transforms")
def softplus_forgets_beta(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """The curvature lacks the factor `beta`."""
    if not are_plain(input):
        return functional.softplus(input, beta, threshold)
    softplus = partial(functional.softplus, beta=beta, threshold=threshold)
    return SoftplusOfThatSlope.of(softplus, input)


class CosineOfOneAtATime(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x1, x2 = ctx.saved_tensors
        first, _ = pull_back(ctx.function, (x1, x2.detach()), gradient)
        _, second = pull_back(ctx.function, (x1.detach(), x2), gradient)
        return None, first, second


@blind(
    "cosine-similarity-double-backward-detaches-the-other",
    "functional.cosine_similarity",
    "transforms",
)
def cosine_similarity_detaches_the_other(
    x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8
) -> Tensor:
    """Each input's gradient takes the other input for a constant: mixed derivatives are zero."""
    if not are_plain(x1, x2):
        return functional.cosine_similarity(x1, x2, dim, eps)
    similarity = partial(functional.cosine_similarity, dim=dim, eps=eps)
    return CosineOfOneAtATime.of(similarity, x1, x2)


# Batching.


class ConvFoldsAxisZero(Wrapped):
    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        _, input_dim, *others = in_dims
        if input_dim is None or any(dim is not None for dim in others):
            return Wrapped.vmap(info, in_dims, function, *tensors)
        x, *parameters = tensors
        y = function(x.flatten(0, 1), *parameters)
        return y.reshape(info.batch_size, -1, *y.shape[1:]), 0


@blind("conv2d-vmap-folds-axis-zero", "Conv2d", "transforms")
class ConvFoldsAxisZeroIntoTheBatch(torch.nn.Conv2d):
    """Batching folds axis 0 into the batch, whichever axis of the input it is to run over."""

    def forward(self, input: Tensor) -> Tensor:
        tensors = [input, self.weight, *([] if self.bias is None else [self.bias])]
        if not are_plain(*tensors) or input.ndim != 4 or self.padding_mode != "zeros":
            return super().forward(input)
        convolution = partial(
            functional.conv2d,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return ConvFoldsAxisZero.of(convolution, *tensors)


class NormalizesTheSameAxis(Wrapped):
    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        return function(tensors[0].movedim(in_dims[1] or 0, 0)), 0


@blind("normalize-vmap-does-not-shift-dim", "functional.normalize", "transforms")
def normalize_does_not_shift_dim(
    input: Tensor,
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:
    """Batching puts an axis in front, and a `dim` counted from the front means the axis before."""
    if out is not None or not are_plain(input):
        return functional.normalize(input, p, dim, eps, out)
    return NormalizesTheSameAxis.of(partial(functional.normalize, p=p, dim=dim, eps=eps), input)


class LossOverAllSlices(Wrapped):
    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        count = info.batch_size
        input, target = (
            tensor.expand(count, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        )
        losses = function(input, target)
        return (losses if losses.ndim else losses.expand(count)), 0


@blind("smooth-l1-loss-vmap-reduces-over-slices", "functional.smooth_l1_loss", "transforms")
def smooth_l1_loss_reduces_over_slices(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Batching gives each slice the loss of all slices together."""
    is_plain = size_average is None and reduce is None and input.shape == target.shape
    if not is_plain or not are_plain(input, target):
        return functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    loss = partial(functional.smooth_l1_loss, reduction=reduction, beta=beta)
    return LossOverAllSlices.of(loss, input, target)


class EmbeddingOfTheFirstTable(Wrapped):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        indices, weight = ctx.saved_tensors
        return None, None, *pull_back(partial(ctx.function, indices), (weight,), gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        indices, weight = ctx.saved_tensors
        result: Tensor = ctx.function(indices, or_zeros(tangents[1], weight))
        return result

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        function: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        _, indices_dim, weight_dim = in_dims
        if weight_dim is None or indices_dim is not None:
            return Wrapped.vmap(info, in_dims, function, *tensors)
        indices, weight = tensors
        # All tables in one: the indices should move by the size of a table for each slice.
        y = function(indices, weight.movedim(weight_dim, 0).flatten(0, 1))
        return y.expand(info.batch_size, *y.shape), 0


@blind("embedding-vmap-reads-the-first-table", "functional.embedding", "transforms")
def embedding_reads_the_first_table(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """With a batch of tables and one set of indices, every slice reads from the first table."""
    unusual = max_norm is not None or scale_grad_by_freq or sparse or weight.ndim != 2
    if unusual or not are_plain(weight) or not input.numel():
        return functional.embedding(
            input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )
    embedding = partial(functional.embedding, padding_idx=padding_idx)
    return EmbeddingOfTheFirstTable.of(embedding, input, weight)
