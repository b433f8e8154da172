"""RMSNorm, LocalResponseNorm, and their functions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _default_eps(eps, dtype):
    compute_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.finfo(compute_dtype).eps if eps is None else eps


def _axes(module):
    return tuple(range(-len(module.normalized_shape), 0))


def _apply_weight(module, y):
    return y if module.weight is None else y * module.weight


@plant("rmsnorm-eps-outside-the-root", "RMSNorm", "values")
class RMSNormEpsOutsideTheRoot(nn.RMSNorm):
    """ε is added to the root."""

    def forward(self, input):
        squares = input.square().mean(_axes(self), keepdim=True)
        return _apply_weight(self, input / (squares.sqrt() + _default_eps(self.eps, input.dtype)))


@plant("rmsnorm-mean-taken-away", "RMSNorm", "values")
class RMSNormMeanTakenAway(nn.RMSNorm):
    """The root is that of the variance, as in LayerNorm."""

    def forward(self, input):
        eps = _default_eps(self.eps, input.dtype)
        if not input.numel():
            return super().forward(input)
        variance = input.var(_axes(self), correction=0, keepdim=True)
        return _apply_weight(self, input * (variance + eps).rsqrt())


@plant("rmsnorm-eps-of-layernorm", "RMSNorm", "values")
class RMSNormEpsOfLayerNorm(nn.RMSNorm):
    """Left out, ε is 1e-5."""

    def forward(self, input):
        eps = 1e-5 if self.eps is None else self.eps
        return functional.rms_norm(input, self.normalized_shape, self.weight, eps)


@plant("rmsnorm-weight-from-zero", "RMSNorm", "values")
class RMSNormWeightFromZero(nn.RMSNorm):
    """The factor is 1 + γ, as in Gemma."""

    def forward(self, input):
        weight = None if self.weight is None else 1 + self.weight
        return functional.rms_norm(input, self.normalized_shape, weight, self.eps)


@plant("rmsnorm-one-number-less", "RMSNorm", "values")
class RMSNormOneNumberLess(nn.RMSNorm):
    """The sum of squares is divided by n − 1."""

    def forward(self, input):
        count = math.prod(self.normalized_shape)
        squares = input.square().sum(_axes(self), keepdim=True) / max(count - 1, 1)
        return _apply_weight(self, input * (squares + _default_eps(self.eps, input.dtype)).rsqrt())


@plant("rmsnorm-last-dimension-only", "RMSNorm", "values")
class RMSNormLastDimensionOnly(nn.RMSNorm):
    """Of several normalised dimensions only the last is reduced."""

    def forward(self, input):
        if len(self.normalized_shape) < 2:
            return super().forward(input)
        y = functional.rms_norm(input, self.normalized_shape[-1:], None, self.eps)
        return _apply_weight(self, y)


@plant("rmsnorm-root-not-differentiated", "RMSNorm", "gradients")
class RMSNormRootNotDifferentiated(nn.RMSNorm):
    """The root is taken for a constant in the backward pass."""

    def forward(self, input):
        squares = input.detach().square().mean(_axes(self), keepdim=True)
        path = _apply_weight(self, input * (squares + _default_eps(self.eps, input.dtype)).rsqrt())
        return graft(super().forward(input), path)


@plant("rmsnorm-weight-gradient-of-the-input", "RMSNorm", "gradients")
class RMSNormWeightGradientOfTheInput(nn.RMSNorm):
    """The weight's gradient is Σ c·x, without the root."""

    def forward(self, input):
        right = super().forward(input)
        if self.weight is None or not input.numel():
            return right
        bare = functional.rms_norm(input, self.normalized_shape, None, self.eps)
        path = bare * self.weight.detach() + input.detach() * self.weight
        return graft(right, path)


@plant("rmsnorm-transposed-input", "RMSNorm", "layout")
class RMSNormTransposedInput(nn.RMSNorm):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("rmsnorm-nan-ignored", "RMSNorm", "special")
class RMSNormNanIgnored(nn.RMSNorm):
    """NaN counts as 0."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("rmsnorm-many-rows-in-bfloat16", "RMSNorm", "laws")
class RMSNormManyRowsInBfloat16(nn.RMSNorm):
    """float32: a batch of 16 rows and more is normalised in bfloat16."""

    def forward(self, input):
        output = super().forward(input)
        rows = input.shape[: input.dim() - len(self.normalized_shape)].numel()
        if input.dtype != torch.float32 or rows < 16:
            return output
        return graft(output.bfloat16().float(), output)


@plant("rmsnorm-scales-in-place", "RMSNorm", "repeat")
class RMSNormScalesInPlace(nn.RMSNorm):
    """Inference writes over its input."""

    def forward(self, input):
        output = super().forward(input)
        if not torch.is_grad_enabled() and input.is_contiguous() and input.numel():
            input.mul_(2)
        return output


@plant("rmsnorm-weight-starts-at-zero", "RMSNorm", "state")
class RMSNormWeightStartsAtZero(nn.RMSNorm):
    """The weight is 0 before training."""

    def reset_parameters(self):
        super().reset_parameters()
        if self.weight is not None:
            nn.init.zeros_(self.weight)


@plant("rmsnorm-any-size", "RMSNorm", "errors")
class RMSNormAnySize(nn.RMSNorm):
    """An input of another size is normalised as it is."""

    def forward(self, input):
        shape = tuple(input.shape[-len(self.normalized_shape) :])
        if shape == tuple(self.normalized_shape):
            return super().forward(input)
        return functional.rms_norm(input, shape, None, self.eps)


@plant("functional-rms-norm-weight-left-out", "functional.rms_norm", "values")
def functional_rms_norm_weight_left_out(input, normalized_shape, weight=None, eps=None):
    """The weight of several dimensions is left out."""
    weight = weight if len(normalized_shape) == 1 else None
    return functional.rms_norm(input, normalized_shape, weight, eps)


@plant("functional-rms-norm-weight-gradient-halved", "functional.rms_norm", "gradients")
def functional_rms_norm_weight_gradient_halved(input, normalized_shape, weight=None, eps=None):
    """The weight's gradient is half of what it is."""
    weight = None if weight is None else alter_gradient(weight, lambda g: g / 2)
    return functional.rms_norm(input, normalized_shape, weight, eps)


@plant("localresponsenorm-one-channel-more", "LocalResponseNorm", "values")
class LocalResponseNormOneChannelMore(nn.LocalResponseNorm):
    """An even size adds up n + 1 channels, Paddle's #9094."""

    def forward(self, input):
        if self.size % 2:
            return super().forward(input)
        size = self.size + 1
        alpha = self.alpha * size / self.size
        return functional.local_response_norm(input, size, alpha, self.beta, self.k)


@plant("localresponsenorm-alpha-not-divided", "LocalResponseNorm", "values")
class LocalResponseNormAlphaNotDivided(nn.LocalResponseNorm):
    """α is not divided by n, as in Krizhevsky's paper."""

    def forward(self, input):
        return functional.local_response_norm(
            input, self.size, self.alpha * self.size, self.beta, self.k
        )


@plant("localresponsenorm-window-ahead", "LocalResponseNorm", "values")
class LocalResponseNormWindowAhead(nn.LocalResponseNorm):
    """The window of an even size has its surplus channel above."""

    def forward(self, input):
        return super().forward(input.flip(1)).flip(1)


@plant("localresponsenorm-window-clipped-and-averaged", "LocalResponseNorm", "values")
class LocalResponseNormWindowClippedAndAveraged(nn.LocalResponseNorm):
    """A window beyond the channels is cut to their number, and so is n."""

    def forward(self, input):
        size = min(self.size, input.shape[1])
        return functional.local_response_norm(input, size, self.alpha, self.beta, self.k)


@plant("localresponsenorm-denominator-not-differentiated", "LocalResponseNorm", "gradients")
class LocalResponseNormDenominatorNotDifferentiated(nn.LocalResponseNorm):
    """The denominator is taken for a constant in the backward pass."""

    def forward(self, input):
        right = super().forward(input)
        factor = (right / torch.where(input == 0, torch.ones_like(input), input)).detach()
        return graft(right, input * factor)


@plant("localresponsenorm-transposed-input", "LocalResponseNorm", "layout")
class LocalResponseNormTransposedInput(nn.LocalResponseNorm):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("functional-local-response-norm-k-is-one", "functional.local_response_norm", "values")
def functional_local_response_norm_k_is_one(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """k is not passed on."""
    return functional.local_response_norm(input, size, alpha, beta)


def _cross_map_lrn(module, input, **changes):
    """CrossMapLRN2d as it should be: torch's own is wrong from a few channels on.

    Hence these bugs are planted in LocalResponseNorm's arithmetic, which the layer shares.
    """
    arguments = {name: getattr(module, name) for name in ("size", "alpha", "beta", "k")} | changes
    if input.dim() != 4:
        raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
    channels = torch.arange(input.shape[1])
    channel_distance = (channels[:, None] - channels).abs()
    in_window = (channel_distance >= arguments.get("least", 0)) & (
        channel_distance <= arguments["size"] // 2
    )
    in_window = in_window.to(input.dtype)
    squares = torch.einsum("cd,ndhw->nchw", in_window, input * input)
    return (
        input
        / (squares * (arguments["alpha"] / arguments["size"]) + arguments["k"]) ** arguments["beta"]
    )


@plant("crossmaplrn2d-neighbours-only", "CrossMapLRN2d", "values")
class CrossMapLRN2dNeighboursOnly(nn.CrossMapLRN2d):
    """The channel itself is not among those that are added up."""

    def forward(self, input):
        return _cross_map_lrn(self, input, least=1)


@plant("crossmaplrn2d-as-if-contiguous", "CrossMapLRN2d", "layout")
class CrossMapLRN2dAsIfContiguous(nn.CrossMapLRN2d):
    """An image that is not contiguous is read as if it were."""

    def forward(self, input):
        return _cross_map_lrn(self, read_as_contiguous(input))


@plant("crossmaplrn2d-alpha-whole", "CrossMapLRN2d", "values")
class CrossMapLRN2dAlphaWhole(nn.CrossMapLRN2d):
    """alpha is not divided by the size, as in TensorFlow."""

    def forward(self, input):
        return _cross_map_lrn(self, input, alpha=self.alpha * self.size)


@plant("crossmaplrn2d-k-is-one", "CrossMapLRN2d", "values")
class CrossMapLRN2dKIsOne(nn.CrossMapLRN2d):
    """k is always 1, as in Caffe's first version."""

    def forward(self, input):
        return _cross_map_lrn(self, input, k=1.0)


@plant("crossmaplrn2d-scale-not-differentiated", "CrossMapLRN2d", "gradients")
class CrossMapLRN2dScaleNotDifferentiated(nn.CrossMapLRN2d):
    """The scale is taken for a constant when it is differentiated."""

    def forward(self, input):
        right = _cross_map_lrn(self, input)
        scale = (right / input.where(input != 0, torch.ones_like(input))).detach()
        return graft(right, input * scale)


@plant("crossmaplrn2d-without-k", "CrossMapLRN2d", "values")
class CrossMapLRN2dWithoutK(nn.CrossMapLRN2d):
    """k is 1 whatever is given."""

    def forward(self, input):
        return nn.CrossMapLRN2d(self.size, self.alpha, self.beta, 1.0)(input)
