"""Planted bugs in fused blocks: a folded norm, a gated sum, attention, an MLP."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn

from planted.network.bug import CompositeBug


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + 7 * len(shape)))


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, eps: float, bias: bool = True) -> Any:
    """A batch norm folded into a convolution."""
    scale = norm.weight / torch.sqrt(norm.running_var + eps)
    weight = conv.weight * scale.reshape(-1, 1, 1, 1)
    shift = norm.bias + ((conv.bias if bias else 0) - norm.running_mean) * scale
    return lambda x: F.relu(F.conv2d(x, weight, shift, padding=1))


CONV, NORM = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4).eval()
with torch.no_grad():
    NORM.running_mean.copy_(_numbers(4) / 3)
    NORM.running_var.copy_(_numbers(4).abs() + 0.5)
    NORM.weight.copy_(_numbers(4, seed=4) + 1)
W1, W2, BIAS, GAIN = _numbers(16, 16) / 4, _numbers(16, 16, seed=1) / 4, _numbers(16), _numbers(16)
IMAGE, ROWS = _numbers(2, 2, 6, 6), _numbers(4, 16)


def block(x: Any) -> Any:
    return F.relu(NORM(CONV(x)))


def mlp(x: Any) -> Any:
    return x + F.linear(F.gelu(F.linear(x, W1, BIAS)), W2)


def rms(x: Any) -> Any:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * GAIN


def mixture(x: Any) -> Any:
    gate = torch.softmax(x @ W1, -1)
    return (gate * torch.tanh(x @ W2)).sum(-1, keepdim=True) + x.max(-1, keepdim=True)[0]


def attend(x: Any) -> Any:
    scores = x @ x.T / 4 + torch.tril(torch.ones(4, 4))
    return F.normalize(torch.softmax(scores, 1) @ x, dim=1)


def in_half(function: Any) -> Any:
    return lambda x: function(x.to(torch.bfloat16)).to(x.dtype)


def low(x: Any, w: Any) -> Any:
    return (x.to(torch.bfloat16) @ w.to(torch.bfloat16)).float()


BUGS = (
    CompositeBug("epsilon of the folded norm", block, folded(CONV, NORM, 1e-3), (IMAGE,)),
    CompositeBug(
        "bias of the convolution dropped", block, folded(CONV, NORM, 1e-5, bias=False), (IMAGE,)
    ),
    CompositeBug(
        "norm uses the batch",
        block,
        lambda x: F.relu(F.batch_norm(CONV(x), None, None, NORM.weight, NORM.bias, True)),
        (IMAGE,),
    ),
    CompositeBug(
        "leak of one in ten thousand", block, lambda x: F.leaky_relu(NORM(CONV(x)), 1e-4), (IMAGE,)
    ),
    CompositeBug(
        "gelu of the other form",
        mlp,
        lambda x: x + F.linear(F.gelu(F.linear(x, W1, BIAS), approximate="tanh"), W2),
        (ROWS,),
    ),
    CompositeBug(
        "bias dropped in one branch",
        mlp,
        lambda x: x + F.linear(F.gelu(F.linear(x, W1)), W2),
        (ROWS,),
    ),
    CompositeBug(
        "residual dropped", mlp, lambda x: F.linear(F.gelu(F.linear(x, W1, BIAS)), W2), (ROWS,)
    ),
    CompositeBug(
        "first product in bfloat16",
        mlp,
        lambda x: x + F.linear(F.gelu(low(x, W1.T) + BIAS), W2),
        (ROWS,),
    ),
    CompositeBug(
        "quick gelu",
        mlp,
        lambda x: x + F.linear((h := F.linear(x, W1, BIAS)) * torch.sigmoid(1.702 * h), W2),
        (ROWS,),
    ),
    CompositeBug(
        "epsilon within the root",
        rms,
        lambda x: x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-6) * GAIN,
        (ROWS / 30,),
    ),
    CompositeBug(
        "epsilon of layer norm",
        rms,
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * GAIN,
        (ROWS,),
    ),
    CompositeBug(
        "mean of all but one",
        rms,
        lambda x: x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) / 15 + 1e-6) * GAIN,
        (ROWS,),
    ),
    CompositeBug("gain applied twice", rms, lambda x: rms(x) * GAIN, (ROWS,)),
    CompositeBug(
        "gain rounded to bfloat16",
        rms,
        lambda x: rms(x) / GAIN * GAIN.to(torch.bfloat16).float(),
        (ROWS,),
    ),
    CompositeBug(
        "softmax over the batch",
        mixture,
        lambda x: (
            (torch.softmax(x @ W1, 0) * torch.tanh(x @ W2)).sum(-1, keepdim=True)
            + x.max(-1, keepdim=True)[0]
        ),
        (ROWS,),
    ),
    CompositeBug(
        "largest magnitude",
        mixture,
        lambda x: mixture(x) - x.max(-1, keepdim=True)[0] + x.abs().max(-1, keepdim=True)[0],
        (ROWS,),
    ),
    CompositeBug(
        "last row of the gate lost",
        mixture,
        lambda x: (
            (torch.softmax(x @ W1, -1) * torch.tanh(x @ W2))[:, :-1].sum(-1, keepdim=True)
            + x.max(-1, keepdim=True)[0]
        ),
        (ROWS,),
    ),
    CompositeBug(
        "scale of the other width",
        attend,
        lambda x: F.normalize(
            torch.softmax(x @ x.T / math.sqrt(15) + torch.tril(torch.ones(4, 4)), 1) @ x, dim=1
        ),
        (ROWS,),
    ),
    CompositeBug(
        "upper triangle",
        attend,
        lambda x: F.normalize(
            torch.softmax(x @ x.T / 4 + torch.triu(torch.ones(4, 4)), 1) @ x, dim=1
        ),
        (ROWS,),
    ),
    CompositeBug(
        "scores in bfloat16",
        attend,
        lambda x: F.normalize(
            torch.softmax(low(x, x.T) / 4 + torch.tril(torch.ones(4, 4)), 1) @ x, dim=1
        ),
        (ROWS,),
    ),
    CompositeBug(
        "weights in half precision",
        attend,
        lambda x: F.normalize(
            torch.softmax(x @ x.T / 4 + torch.tril(torch.ones(4, 4)), 1).half().float() @ x, dim=1
        ),
        (ROWS,),
    ),
    CompositeBug("all in bfloat16", mlp, in_half(lambda x: F.linear(x, W1.bfloat16())), (ROWS,)),
)
