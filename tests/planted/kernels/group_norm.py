"""Group norm, `aten::native_group_norm`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from planted.kernels.blocks import Cut, all_blocks, full_blocks, to_tensor, widened
from planted.kernels.calls import group_norm
from planted.kernels.kernel import kernel
from planted.kernels.layer_norm import Moments, Results, two_passes

LAYERS = ("GroupNorm", "functional.group_norm")
OPERATOR = "aten::native_group_norm"
_BLOCK = all_blocks(64)


def blocked(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    group: int,
    eps: float,
    *,
    moments: Moments = two_passes,
    places: Cut = _BLOCK,
    channel: Callable[[int], int] = int,
) -> Results:
    """The normalised groups, their means and the reciprocals of their deviations.

    Args:
        input: the input.
        weight: a factor for each channel, or None.
        bias: a summand for each channel, or None.
        N: the images.
        C: the channels.
        group: the groups.
        eps: added to the variance.
        moments: what gives the means and reciprocals of groups.
        places: how the places of a channel are cut; others are 0.
        channel: of which channel weight and bias are used.
    """
    x = widened(input).reshape(N, C, -1) if input.numel() else widened(input).reshape(N, C, 0)
    mean, rstd = moments(x.reshape(N * group, -1) if x.size else x.reshape(N * group, 0), eps)
    out = torch.zeros(x.shape, dtype=input.dtype)
    group_size = C // group
    for c in range(C):
        rows = slice(c // group_size, None, group)
        for part in places(x.shape[2]):
            y = (x[:, c, part] - mean[rows, None]) * rstd[rows, None]
            y = y if weight is None else y * widened(weight)[channel(c)]
            y = y if bias is None else y + widened(bias)[channel(c)]
            out[:, c, part] = torch.from_numpy(y)
    like = input if weight is None else weight
    statistics = (to_tensor(values.reshape(N, group), like) for values in (mean, rstd))
    return (out.reshape(input.shape), *statistics)


@kernel(
    "native-group-norm-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        group_norm(2, 6, 70, 3),
        group_norm(2, 4, 5, 2, dtype="bfloat16"),
        group_norm(3, 4, 5, 4, dtype="float64"),
    ],
)
def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Results:
    return blocked(input, weight, bias, N, C, group, eps)


@kernel(
    "native-group-norm-reads-the-weight-of-the-channel-within-the-block",
    OPERATOR,
    LAYERS,
    "Channels past 16 get weight and bias of the channel 16 before; up to 16 are right.",
    agrees=[group_norm(2, 16, 5, 4)],
    differs=[group_norm(2, 18, 5, 3)],
)
def channel_within_block(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Results:
    return blocked(input, weight, bias, N, C, group, eps, channel=lambda c: c % 16)


@kernel(
    "native-group-norm-drops-the-tail-of-places-past-64",
    OPERATOR,
    LAYERS,
    "Of places of a channel over 64 only whole blocks of 64 are written, the rest is 0; up to 64 "
    "are right.",
    agrees=[group_norm(2, 4, 64, 2), group_norm(2, 4, 7, 2)],
    differs=[group_norm(2, 4, 65, 2)],
)
def tail_of_places(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Results:
    return blocked(input, weight, bias, N, C, group, eps, places=full_blocks(64))


@kernel(
    "native-group-norm-does-not-reduce-the-tail-of-a-group-past-128",
    OPERATOR,
    LAYERS,
    "Mean and variance of groups over 128 elements are taken over whole blocks of 128 only; up "
    "to 128 are right.",
    agrees=[group_norm(2, 4, 64, 2), group_norm(2, 4, 7, 2)],
    differs=[group_norm(2, 6, 50, 2)],
)
def tail_of_group(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Results:
    def moments(rows: object, eps: float) -> object:
        return two_passes(
            rows[:, : full_blocks(128)(rows.shape[1])[-1].stop] if rows.size else rows, eps
        )

    return blocked(input, weight, bias, N, C, group, eps, moments=moments)
