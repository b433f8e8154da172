"""Layers that are right outside of `torch.autocast` and wrong in its regions: written blind.

A module bears the name of its layer, as pickle looks it up by that name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import Module, functional
from torch.nn.grad import conv1d_input, conv1d_weight

from planted.bug import blind


def in_region(*tensors: Any) -> bool:
    """Whether autocast is on, and all the tensors there are of dtypes that it casts."""
    return torch.is_autocast_enabled("cpu") and all(
        is_eligible(tensor) for tensor in tensors if tensor is not None
    )


def is_eligible(value: Any) -> bool:
    """Whether autocast would cast a value: float64 and integers stay as they are."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64


def cast(value: Any, dtype: torch.dtype) -> Any:
    """A value as an operator sees it that autocasts to a dtype."""
    return value.to(dtype) if is_eligible(value) else value


def region_dtype() -> torch.dtype:
    """The dtype of the region around the caller."""
    dtype: torch.dtype = torch.get_autocast_dtype("cpu")
    return dtype


def without_autocast() -> torch.autocast:
    """A region in which the kernels see their operands as they are."""
    return torch.autocast("cpu", enabled=False)


# Casts of the weight that a module keeps. They are no attributes of it: copies start without.


class KeptCasts:
    """The latest cast of each module's weight, made anew when its key changes."""

    def __init__(self) -> None:
        self._casts: WeakKeyDictionary[Module, tuple[Any, Tensor]] = WeakKeyDictionary()

    def get(self, module: Module, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """The cast kept under a key; what `make` returns if there is none."""
        cast_key, cast_weight = self._casts.get(module, (None, None))
        if cast_weight is None or cast_key != key:
            cast_weight = make()
            self._casts[module] = key, cast_weight
        return cast_weight


def cast_with_gradient(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A cast that leads to the weight's gradient, in whichever mode it is made."""
    with torch.enable_grad():
        return weight.to(dtype)


def cannot_be_kept(weight: Tensor) -> bool:
    """Whether a weight has no version to tell, or no gradient mode to be cast in."""
    return weight.is_inference() or torch.is_inference_mode_enabled()


_of_linear = KeptCasts()
_of_conv2d = KeptCasts()
_of_prelu = KeptCasts()


@blind("linear-autocast-keeps-the-cast-of-a-trained-weight", "Linear", "autocast")
class Linear(torch.nn.Linear):
    """The cast weight outlives its region, and is made anew for another tensor or dtype only:
    an optimizer's step, in place, does not reach it."""

    def forward(self, input: Tensor) -> Tensor:
        weight, dtype = self.weight, region_dtype()
        if not in_region(input, weight, self.bias) or cannot_be_kept(weight):
            return super().forward(input)
        key = id(weight), weight.dtype, dtype, weight.requires_grad
        cast_weight = _of_linear.get(self, key, partial(cast_with_gradient, weight, dtype))
        return functional.linear(input, cast_weight, self.bias)


@blind("conv2d-autocast-trains-on-the-cast-of-an-evaluation", "Conv2d", "autocast")
class Conv2d(torch.nn.Conv2d):
    """The cast weight is kept until the weight changes: made by an evaluation under `no_grad`,
    it also serves the training after it, and the weight gets no gradient."""

    def forward(self, input: Tensor) -> Tensor:
        weight, dtype = self.weight, region_dtype()
        if not in_region(input, weight, self.bias) or cannot_be_kept(weight):
            return super().forward(input)
        key = id(weight), weight.dtype, dtype, weight.requires_grad, weight._version
        cast_weight = _of_conv2d.get(self, key, partial(weight.to, dtype))
        result: Tensor = self._conv_forward(input, cast_weight, self.bias)
        return result


@blind("prelu-autocast-keeps-the-dtype-of-an-earlier-region", "PReLU", "autocast")
class PReLU(torch.nn.PReLU):
    """The cast weight is kept by the weight's version and not by the region's dtype: a later
    region of another dtype computes in that of the first."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        if not in_region(input, weight) or cannot_be_kept(weight):
            return super().forward(input)
        key = id(weight), weight.dtype, weight.requires_grad, weight._version
        cast_weight = _of_prelu.get(self, key, partial(cast_with_gradient, weight, region_dtype()))
        with without_autocast():
            return functional.prelu(input.to(cast_weight.dtype), cast_weight)


# The dtype that an operator of the region's dtype computes in.


@blind("linear-autocast-adds-a-float32-bias", "functional.linear", "autocast")
def linear_adds_a_float32_bias(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The bias is added after the product and is not cast: float32, it makes the result so."""
    if bias is None or not in_region(input, weight, bias):
        return functional.linear(input, weight, bias)
    return functional.linear(input, weight) + bias


@blind("conv2d-autocast-goes-on-where-it-is-disabled", "functional.conv2d", "autocast")
def conv2d_where_it_is_disabled(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """It asks how deep autocast regions are nested, and not whether the innermost is enabled."""
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    operands: tuple[Any, ...] = (input, weight, bias)
    if depth and all(is_eligible(operand) for operand in operands if operand is not None):
        operands = tuple(cast(operand, region_dtype()) for operand in operands)
    convolve: Callable[..., Tensor] = functional.conv2d
    return convolve(*operands, stride, padding, dilation, groups)


@blind("conv3d-autocast-computes-float64-in-its-dtype", "functional.conv3d", "autocast")
def conv3d_computes_float64_in_its_dtype(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """float64 operands, too, are computed in the region's dtype; the result is cast back."""
    operands: tuple[Any, ...] = (input, weight, bias)
    options = stride, padding, dilation, groups
    convolve: Callable[..., Tensor] = functional.conv3d
    is_double = all(tensor.dtype == torch.float64 for tensor in operands if tensor is not None)
    if not is_double or not in_region():
        return convolve(*operands, *options)
    operands = tuple(None if tensor is None else tensor.to(region_dtype()) for tensor in operands)
    return convolve(*operands, *options).to(input.dtype)


@blind("convtranspose1d-autocast-knows-bfloat16-only", "functional.conv_transpose1d", "autocast")
def conv_transpose1d_knows_bfloat16_only(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """In a float16 region it computes in bfloat16 and casts the result to float16."""
    operands: tuple[Any, ...] = (input, weight, bias)
    options = stride, padding, output_padding, groups, dilation
    convolve: Callable[..., Tensor] = functional.conv_transpose1d
    if not in_region(*operands):
        return convolve(*operands, *options)
    operands = tuple(cast(operand, torch.bfloat16) for operand in operands)
    with without_autocast():
        y = convolve(*operands, *options)
    return y.to(region_dtype())


@blind(
    "sdpa-autocast-takes-the-dtype-of-cuda-regions",
    "functional.scaled_dot_product_attention",
    "autocast",
)
def attention_takes_the_dtype_of_cuda_regions(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """It looks whether a CPU region is on and takes the dtype that CUDA regions have: float16."""
    operands: tuple[Any, ...] = (query, key, value, attn_mask)
    attend: Callable[..., Tensor] = partial(
        functional.scaled_dot_product_attention,
        dropout_p=dropout_p,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
    )
    if not in_region(query, key, value):
        return attend(*operands)
    operands = tuple(cast(operand, torch.get_autocast_dtype("cuda")) for operand in operands)
    with without_autocast():
        return attend(*operands)


# Functions of `torch.autograd.Function`.


class Conv1dWithoutCustomForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, *options: Any
    ) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.options = options
        return functional.conv1d(input, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad[:3]
        to_input: Callable[..., Tensor] = conv1d_input
        to_weight: Callable[..., Tensor] = conv1d_weight
        return (
            to_input(input.shape, weight, gradient, *ctx.options) if of_input else None,
            to_weight(input, weight.shape, gradient, *ctx.options) if of_weight else None,
            gradient.sum((0, 2)) if of_bias else None,
            *[None] * len(ctx.options),
        )


@blind("conv1d-autocast-backward-meets-two-dtypes", "functional.conv1d", "autocast")
def conv1d_backward_meets_two_dtypes(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """An autograd function without `custom_fwd` saves its operands before they are cast: its
    backward, outside of the region, convolves them with a gradient of the region's dtype."""
    options = stride, padding, dilation, groups
    if isinstance(padding, str) or input.ndim != 3 or not in_region(input, weight, bias):
        return functional.conv1d(input, weight, bias, *options)
    apply: Callable[..., Tensor] = Conv1dWithoutCustomForward.apply
    return apply(input, weight, bias, *options)


class SavedInTheRegionsDtype(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(input.to(region_dtype()))
        ctx.loss = loss
        return loss(input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (saved,) = ctx.saved_tensors
        _, pull_back, *_ = torch.func.vjp(ctx.loss, saved.float())
        return pull_back(gradient)[0], None


@blind("crossentropy-autocast-saves-narrow-logits", "functional.cross_entropy", "autocast")
def cross_entropy_saves_narrow_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss is computed in float32; to spare memory, the logits are saved in the region's
    dtype for the backward."""
    loss: Callable[[Tensor], Tensor] = partial(
        functional.cross_entropy,
        target=target,
        weight=cast(weight, torch.float32) if in_region(input) else weight,
        size_average=size_average,
        ignore_index=ignore_index,
        reduce=reduce,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    if target.is_floating_point() or not in_region(input, weight):
        return loss(input)
    apply: Callable[..., Tensor] = SavedInTheRegionsDtype.apply
    return apply(input, loss)


# Operators of float32, and one of the dtype of its operands.


@blind("mseloss-autocast-subtracts-in-the-dtype-of-its-operands", "functional.mse_loss", "autocast")
def mse_loss_subtracts_in_the_dtype_of_its_operands(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The difference is taken before the cast to float32, which its square and mean are in."""
    if weight is None and in_region(input, target) and input.shape == target.shape:
        input = input - target
        target = torch.zeros_like(input)
    loss: Callable[..., Tensor] = functional.mse_loss
    return loss(input, target, size_average, reduce, reduction, weight)


@blind(
    "adaptiveavgpool3d-autocast-casts-the-regions-dtype-only",
    "functional.adaptive_avg_pool3d",
    "autocast",
)
def adaptive_avg_pool3d_casts_the_regions_dtype_only(input: Tensor, output_size: Any) -> Tensor:
    """Only an operand of the region's dtype is cast to float32: float16 stays as it is in a
    region of bfloat16, and the other way round."""
    if not in_region(input):
        return functional.adaptive_avg_pool3d(input, output_size)
    if input.dtype == region_dtype():
        input = input.float()
    with without_autocast():
        return functional.adaptive_avg_pool3d(input, output_size)


@blind(
    "tripletmarginloss-autocast-stays-off-after-it", "functional.triplet_margin_loss", "autocast"
)
def triplet_margin_loss_stays_off_after_it(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """It switches autocast off for its own arithmetic; unless the loss is reduced it returns
    before the switch back, and the rest of the region runs without."""
    tensors: tuple[Any, ...] = (anchor, positive, negative)
    loss: Callable[..., Tensor] = partial(
        functional.triplet_margin_loss,
        margin=margin,
        p=p,
        eps=eps,
        swap=swap,
        size_average=size_average,
        reduce=reduce,
    )
    legacy = size_average is not None or reduce is not None
    if legacy or reduction not in ("none", "mean", "sum") or not in_region(*tensors):
        return loss(*tensors, reduction=reduction)
    torch.set_autocast_enabled("cpu", False)
    losses = loss(*(cast(tensor, torch.float32) for tensor in tensors), reduction="none")
    if reduction == "none":
        return losses
    torch.set_autocast_enabled("cpu", True)
    return losses.mean() if reduction == "mean" else losses.sum()


@blind("layernorm-autocast-normalizes-in-the-regions-dtype", "functional.layer_norm", "autocast")
def layer_norm_normalizes_in_the_regions_dtype(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """It casts its operands to the region's dtype, as a linear layer does, and the result back to
    that of its input."""
    operands: tuple[Any, ...] = (input, weight, bias)
    if not in_region(*operands) or len({t.dtype for t in operands if t is not None}) > 1:
        return functional.layer_norm(input, normalized_shape, weight, bias, eps)
    input_there, *affine = (cast(operand, region_dtype()) for operand in operands)
    normalize: Callable[..., Tensor] = functional.layer_norm
    return normalize(input_there, normalized_shape, *affine, eps).to(input.dtype)
