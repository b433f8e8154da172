"""Planted bugs in networks over rows: activations, norms, experts, losses.

Written by someone who had not seen the checker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's documentation calls it so

from planted.network.bug import CompositeBug, Draw

draw = Draw(4208)
ROWS = draw.normal(6, 12)
mlp_in = draw.layer(nn.Linear, 12, 24)
mlp_out = draw.layer(nn.Linear, 24, 12)


def mlp(x: Tensor, activation: Callable[[Tensor], Tensor] = F.gelu) -> Tensor:
    return mlp_out(activation(mlp_in(x)))


def tanh_gelu(x: Tensor, cubic: float = 0.044715) -> Tensor:
    inner = math.sqrt(2.0 / math.pi) * (x + cubic * x * x * x)
    return 0.5 * x * (1.0 + torch.tanh(inner))


def clip_to_six(x: Tensor) -> Tensor:
    return torch.clamp(x, 0.0, 6.0)


step_down = draw.layer(nn.Linear, 12, 4)
step_up = draw.layer(nn.Linear, 4, 12)
step_up.bias -= 12.0


def time_steps(x: Tensor, softplus: Callable[[Tensor], Tensor] = F.softplus) -> Tensor:
    return softplus(step_up(step_down(x))) * torch.sigmoid(x)


tower_weight = draw.normal(12, 12, scale=12**-0.5)
tower_next_weight = tower_weight + draw.normal(12, 12, scale=1e-4)


def tower(x: Tensor, second: Tensor = tower_next_weight) -> Tensor:
    x = x + F.relu(F.linear(x, tower_weight))
    return x + F.relu(F.linear(x, second))


norm_head: Any = nn.Sequential(draw.layer(nn.LayerNorm, 12), draw.layer(nn.Linear, 12, 8)).eval()


def written_norm_head(x: Tensor, eps: float = 1e-5, one_pass: bool = False) -> Tensor:
    norm, head = norm_head
    mean = x.mean(dim=-1, keepdim=True)
    if one_pass:
        variance = (x * x).mean(dim=-1, keepdim=True) - mean * mean
    else:
        variance = (x - mean).square().mean(dim=-1, keepdim=True)
    return head((x - mean) * torch.rsqrt(variance + eps) * norm.weight + norm.bias)


rms_weight = draw.uniform(12, low=0.5, high=1.5)
rms_head = draw.layer(nn.Linear, 12, 8)


def rms_inverse(x: Tensor) -> Tensor:
    return torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-6)


def rms_project(x: Tensor, inverse: Callable[[Tensor], Tensor] = rms_inverse) -> Tensor:
    return rms_head(x * inverse(x) * rms_weight)


def rms_inverse_eps_outside(x: Tensor) -> Tensor:
    return 1.0 / (torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True)) + 1e-6)


def rms_inverse_two_newton_steps(x: Tensor) -> Tensor:
    square = x.pow(2).mean(dim=-1, keepdim=True) + 1e-6
    guess = (0x5F3759DF - (square.view(torch.int32) >> 1)).view(torch.float32)
    for _ in range(2):
        guess = guess * (1.5 - 0.5 * square * guess * guess)
    return guess


def rms_inverse_sum_in_bfloat16(x: Tensor) -> Tensor:
    total = torch.zeros(x.shape[:-1], dtype=torch.bfloat16)
    for column in range(x.shape[-1]):
        total = total + x[..., column].pow(2).bfloat16()
    return torch.rsqrt(total.float()[..., None] / x.shape[-1] + 1e-6)


block_norm = draw.layer(nn.LayerNorm, 12)


def residual_block(x: Tensor) -> Tensor:
    return x + mlp(block_norm(x))


def residual_block_from_normed(x: Tensor) -> Tensor:
    normed = block_norm(x)
    return normed + mlp(normed)


router = draw.layer(nn.Linear, 12, 4)
expert_weights = draw.normal(4, 12, 8, scale=12**-0.5)


def expert_mix(x: Tensor, rescale: bool = True) -> Tensor:
    gates = torch.softmax(router(x), dim=-1)
    first = gates.amax(dim=-1, keepdim=True)
    second = torch.where(gates == first, 0.0, gates).amax(dim=-1, keepdim=True)
    weights = torch.where(gates >= second, gates, 0.0)
    if rescale:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    answers = torch.einsum("nd,edo->neo", x, expert_weights)
    return torch.einsum("ne,neo->no", weights, answers)


def router_entropy(x: Tensor) -> Tensor:
    logits = router(x) * 16.0
    return -(torch.softmax(logits, dim=-1) * F.log_softmax(logits, dim=-1)).sum(dim=-1)


def router_entropy_safe_log(x: Tensor) -> Tensor:
    chances = torch.softmax(router(x) * 16.0, dim=-1)
    return -(chances * torch.log(chances + 1e-6)).sum(dim=-1)


class_head = draw.layer(nn.Linear, 12, 10)
LABELS = draw.integers(10, 6)


def smoothed_loss(x: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(class_head(x), labels, label_smoothing=0.1)


def smoothed_loss_over_others(x: Tensor, labels: Tensor) -> Tensor:
    log_chances = F.log_softmax(class_head(x), dim=-1)
    hit = F.one_hot(labels, 10).float()
    target = hit * 0.9 + (1.0 - hit) * (0.1 / 9)
    return -(target * log_chances).sum(dim=-1).mean()


BUGS = (
    CompositeBug(
        "tanh form of gelu instead of the exact one",
        mlp,
        partial(mlp, activation=tanh_gelu),
        (ROWS,),
    ),
    CompositeBug(
        "cubic constant of gelu is 0.0447",
        partial(mlp, activation=tanh_gelu),
        partial(mlp, activation=partial(tanh_gelu, cubic=0.0447)),
        (ROWS,),
    ),
    CompositeBug(
        "upper clip of relu6 is left out",
        partial(mlp, activation=clip_to_six),
        partial(mlp, activation=F.relu),
        (ROWS * 2.5,),
    ),
    CompositeBug(
        "softplus is log(1 + exp(x)) far below zero",
        time_steps,
        partial(time_steps, softplus=lambda x: torch.log(1.0 + torch.exp(x))),
        (ROWS,),
    ),
    CompositeBug(
        "second layer uses the first layer's nearly equal weight",
        tower,
        partial(tower, second=tower_weight),
        (ROWS,),
    ),
    CompositeBug(
        "one-pass variance with a large mean",
        norm_head,
        partial(written_norm_head, one_pass=True),
        (draw.normal(6, 12, shift=200.0),),
    ),
    CompositeBug(
        "eps of the layer norm is 1e-6",
        norm_head,
        partial(written_norm_head, eps=1e-6),
        (ROWS * 1.3,),
    ),
    CompositeBug(
        "eps of the RMS norm is added outside the root",
        rms_project,
        partial(rms_project, inverse=rms_inverse_eps_outside),
        (draw.normal(6, 12, scale=0.02),),
    ),
    CompositeBug(
        "inverse root of the RMS norm is one Newton step short",
        rms_project,
        partial(rms_project, inverse=rms_inverse_two_newton_steps),
        (ROWS,),
    ),
    CompositeBug(
        "sum of squares of the RMS norm runs in bfloat16",
        rms_project,
        partial(rms_project, inverse=rms_inverse_sum_in_bfloat16),
        (ROWS,),
    ),
    CompositeBug(
        "residual is taken after the norm", residual_block, residual_block_from_normed, (ROWS,)
    ),
    CompositeBug(
        "gates of the kept experts are not rescaled",
        expert_mix,
        partial(expert_mix, rescale=False),
        (ROWS,),
    ),
    CompositeBug(
        "entropy takes the log of the probability plus 1e-6",
        router_entropy,
        router_entropy_safe_log,
        (ROWS,),
    ),
    CompositeBug(
        "label smoothing is spread over the other classes only",
        smoothed_loss,
        smoothed_loss_over_others,
        (ROWS, LABELS),
    ),
)
