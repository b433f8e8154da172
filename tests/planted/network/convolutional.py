"""Planted bugs in networks of convolutions: folded norms, pooling, joins of channels.

Written by someone who had not seen the checker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's documentation calls it so

from planted.network.bug import CompositeBug, Draw

draw = Draw(4207)
IMAGE = draw.normal(2, 3, 7, 7)
FEATURES = draw.normal(2, 6, 5, 5)

stem: Any = nn.Sequential(
    draw.layer(nn.Conv2d, 3, 8, 3, padding=1), draw.layer(nn.BatchNorm2d, 8), nn.ReLU()
).eval()


def folded_stem(
    x: Tensor, eps: float = 1e-5, keep_conv_bias: bool = True, rounded_channel: int | None = None
) -> Tensor:
    conv, norm, _ = stem
    scale = norm.weight / torch.sqrt(norm.running_var + eps)
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    bias = norm.bias - norm.running_mean * scale
    if keep_conv_bias:
        bias = bias + conv.bias * scale
    if rounded_channel is not None:
        weight[rounded_channel] = weight[rounded_channel].bfloat16().float()
    return F.relu(F.conv2d(x, weight, bias, padding=1))


depthwise: Any = nn.Sequential(
    draw.layer(nn.Conv2d, 6, 6, 3, padding=1, groups=6, bias=False),
    draw.layer(nn.BatchNorm2d, 6),
    nn.SiLU(),
).eval()


def folded_depthwise(x: Tensor, eps: float = 1e-5, root: bool = True) -> Tensor:
    conv, norm, _ = depthwise
    spread = norm.running_var + eps
    scale = norm.weight / (torch.sqrt(spread) if root else spread)
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    bias = norm.bias - norm.running_mean * scale
    return F.silu(F.conv2d(x, weight, bias, padding=1, groups=6))


upsampler: Any = nn.Sequential(
    draw.layer(nn.ConvTranspose2d, 6, 6, 2, stride=2),
    draw.layer(nn.BatchNorm2d, 6),
    nn.LeakyReLU(0.01),
).eval()


def upsampler_folded_along_inputs(x: Tensor) -> Tensor:
    conv, norm, _ = upsampler
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    bias = norm.bias + (conv.bias - norm.running_mean) * scale
    return F.leaky_relu(F.conv_transpose2d(x, weight, bias, stride=2), 0.01)


pool_conv = draw.layer(nn.Conv2d, 3, 6, 3, padding=1)


def pooled_conv(x: Tensor, count_padding: bool = True) -> Tensor:
    features = F.relu(pool_conv(x))
    return F.avg_pool2d(features, 3, stride=2, padding=1, count_include_pad=count_padding)


SEQUENCE = draw.normal(2, 5, 12)
text_conv = draw.layer(nn.Conv1d, 5, 6, 3)
text_conv.bias[2] = -4.0


def text_features(x: Tensor) -> Tensor:
    features = text_conv(x)
    return torch.cat([features.amax(dim=-1), features.mean(dim=-1)], dim=-1)


def text_features_max_from_zero(x: Tensor) -> Tensor:
    features = text_conv(x)
    largest = torch.zeros(features.shape[:2])
    for step in range(features.shape[-1]):
        largest = torch.maximum(largest, features[..., step])
    return torch.cat([largest, features.mean(dim=-1)], dim=-1)


join_conv = draw.layer(nn.Conv2d, 12, 4, 3, padding=1)


def skip_join(deep: Tensor, skip: Tensor, skip_first: bool = True) -> Tensor:
    grown = F.interpolate(deep, scale_factor=2.0, mode="nearest")
    parts = [skip, grown] if skip_first else [grown, skip]
    return F.relu(join_conv(torch.cat(parts, dim=1)))


shuffle_conv = draw.layer(nn.Conv2d, 3, 8, 3, padding=1)


def pixel_shuffle(x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    parts = shuffle_conv(x).view(n, 2, 2, 2, height, width)
    return parts.permute(0, 1, 4, 2, 5, 3).reshape(n, 2, height * 2, width * 2)


def pixel_shuffle_channels_last(x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    parts = shuffle_conv(x).view(n, 2, 2, 2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, 2, height * 2, width * 2)


squeeze_in = draw.layer(nn.Linear, 6, 3)
squeeze_out = draw.layer(nn.Linear, 3, 6)


def squeeze_excite(x: Tensor, gate: Callable[[Tensor], Tensor] = torch.sigmoid) -> Tensor:
    hidden = F.relu(squeeze_in(x.mean(dim=(2, 3))))
    return x * gate(squeeze_out(hidden))[:, :, None, None]


group_head: Any = nn.Sequential(
    draw.layer(nn.GroupNorm, 3, 6), nn.SiLU(), draw.layer(nn.Conv2d, 6, 4, 1)
).eval()


def group_head_interleaved(x: Tensor) -> Tensor:
    norm, activation, conv = group_head
    n, _, height, width = x.shape
    groups = x.reshape(n, 2, 3, height, width)
    mean = groups.mean(dim=(1, 3, 4), keepdim=True)
    variance = groups.var(dim=(1, 3, 4), keepdim=True, unbiased=False)
    flat = ((groups - mean) * torch.rsqrt(variance + norm.eps)).reshape(x.shape)
    return conv(activation(flat * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)))


BUGS = (
    CompositeBug("eps of the folded norm is 1e-3", stem, partial(folded_stem, eps=1e-3), (IMAGE,)),
    CompositeBug(
        "folded norm forgets the convolution's own bias",
        stem,
        partial(folded_stem, keep_conv_bias=False),
        (IMAGE,),
    ),
    CompositeBug(
        "one channel of the folded weights is rounded to bfloat16",
        stem,
        partial(folded_stem, rounded_channel=5),
        (IMAGE,),
    ),
    CompositeBug(
        "depthwise fold divides by the variance, not by its root",
        depthwise,
        partial(folded_depthwise, root=False),
        (FEATURES,),
    ),
    CompositeBug(
        "depthwise fold leaves eps out",
        depthwise,
        partial(folded_depthwise, eps=0.0),
        (FEATURES * 0.3,),
    ),
    CompositeBug(
        "transposed convolution is folded along its input channels",
        upsampler,
        upsampler_folded_along_inputs,
        (FEATURES,),
    ),
    CompositeBug(
        "average pool leaves padding out of the divisor",
        pooled_conv,
        partial(pooled_conv, count_padding=False),
        (IMAGE,),
    ),
    CompositeBug(
        "maximum over time starts from 0, seen in one channel",
        text_features,
        text_features_max_from_zero,
        (SEQUENCE,),
    ),
    CompositeBug(
        "skip connection is joined in the other order",
        skip_join,
        partial(skip_join, skip_first=False),
        (draw.normal(1, 6, 3, 3), draw.normal(1, 6, 6, 6)),
    ),
    CompositeBug(
        "pixel shuffle takes the channel from the last factor",
        pixel_shuffle,
        pixel_shuffle_channels_last,
        (IMAGE,),
    ),
    CompositeBug(
        "squeeze-excite gate is a hard sigmoid",
        squeeze_excite,
        partial(squeeze_excite, gate=F.hardsigmoid),
        (FEATURES,),
    ),
    CompositeBug(
        "group norm takes every third channel as a group",
        group_head,
        group_head_interleaved,
        (FEATURES,),
    ),
)
