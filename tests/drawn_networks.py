"""Small networks drawn at random, of layers and operators in usual orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn

Block = Callable[[Any], Any]


class DrawnNetwork(nn.Module):
    """Blocks one after another.

    Args:
        names: of the blocks, for messages.
        blocks: functions of one tensor, or modules.
    """

    def __init__(self, names: Sequence[str], blocks: Sequence[Any]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.layers = nn.ModuleList(x for x in blocks if isinstance(x, nn.Module))
        self._functions = [None if isinstance(x, nn.Module) else x for x in blocks]

    def forward(self, x: Any) -> Any:
        """Run the blocks."""
        modules = iter(self.layers)
        for function in self._functions:
            x = (function or next(modules))(x)
        return x


class Residual(nn.Module):
    """x + scale · inner(x)."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x: Any) -> Any:
        """Add the branch."""
        return x + self.inner(x) * self.scale


class Gated(nn.Module):
    """One half of a linear layer's results times a gate from the other half."""

    def __init__(self, width: int, gate: Block) -> None:
        super().__init__()
        self.linear, self.gate = nn.Linear(width, 2 * width), gate

    def forward(self, x: Any) -> Any:
        """Apply the gate."""
        a, b = self.linear(x).chunk(2, -1)
        return a * self.gate(b)


class WrittenAttention(nn.Module):
    """Attention by primitive operators, with or without a causal mask."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.project, self.causal = nn.Linear(width, 3 * width), causal

    def forward(self, x: Any) -> Any:
        """Mix the rows."""
        q, k, v = self.project(x).split(x.shape[-1], -1)
        scores = q @ k.transpose(-1, -2) / x.shape[-1] ** 0.5
        if self.causal:
            hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        return torch.softmax(scores, -1) @ v


class WrittenNorm(nn.Module):
    """A layer norm or RMS norm by primitive operators."""

    def __init__(self, width: int, centred: bool) -> None:
        super().__init__()
        self.weight, self.centred = nn.Parameter(torch.rand(width) + 0.5), centred

    def forward(self, x: Any) -> Any:
        """Normalise the rows."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Branches(nn.Module):
    """Two branches, joined along an axis."""

    def __init__(self, first: nn.Module, second: nn.Module, axis: int) -> None:
        super().__init__()
        self.first, self.second, self.axis = first, second, axis

    def forward(self, x: Any) -> Any:
        """Join the results."""
        return torch.cat([self.first(x), self.second(x)], self.axis)


ACTIVATIONS: dict[str, Block] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "clip": lambda x: x.clamp(-1, 1),
    "softsign": lambda x: x / (1 + x.abs()),
    "gaussian": lambda x: torch.exp(-x * x),
    "half gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "swish": lambda x: x * torch.sigmoid(1.5 * x),
    "square": lambda x: x * x - 0.5,
}


def _row_block(random: np.random.Generator, width: int) -> tuple[str, Any, int]:
    """Name, block and width after it, for (N, T, width)."""
    kind = str(random.choice(ROW_BLOCKS))
    activation = ACTIVATIONS[name := str(random.choice(list(ACTIVATIONS)))]
    if kind == "linear":
        after = int(random.integers(3, 9))
        return kind, nn.Linear(width, after, bias=bool(random.integers(2))), after
    if kind == "activation":
        return name, activation, width
    blocks: dict[str, Callable[[], Any]] = {
        "layer norm": lambda: nn.LayerNorm(width),
        "rms norm": lambda: nn.RMSNorm(width, eps=1e-5),
        "written norm": lambda: WrittenNorm(width, bool(random.integers(2))),
        "softmax": lambda: lambda x: torch.softmax(2 * x, -1),
        "log softmax": lambda: nn.LogSoftmax(-1),
        "residual": lambda: Residual(
            nn.Linear(width, width), float(random.choice([1.0, 0.5, 0.3]))
        ),
        "gated": lambda: Gated(width, activation),
        "attention": lambda: WrittenAttention(width, bool(random.integers(2))),
        "sdpa": lambda: lambda x: F.scaled_dot_product_attention(x, x, x),
        "scale": lambda: lambda x: 1.7 * x + 0.1,
        "normalize": lambda: lambda x: x / (x.norm(dim=-1, keepdim=True) + 1e-3),
        "shares": lambda: lambda x: x / (x.abs().sum(-1, keepdim=True) + 0.1),
        "less the largest": lambda: lambda x: x - x.amax(-1, keepdim=True),
        "cumsum": lambda: lambda x: x.cumsum(1),
        "turned": lambda: lambda x: x.transpose(1, 2).reshape(x.shape),
        "rolled": lambda: lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
        "mlp": lambda: nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width)),
    }
    if kind == "branches":
        parts = [nn.Linear(width, 3), nn.Sequential(nn.Linear(width, 2), nn.Tanh())]
        return kind, Branches(*parts, -1), 5
    return kind, blocks[kind](), width


ROW_BLOCKS = (
    *("linear", "linear", "activation", "activation", "layer norm", "rms norm", "written norm"),
    *("softmax", "log softmax", "residual", "gated", "attention", "sdpa", "scale", "normalize"),
    *("shares", "less the largest", "cumsum", "turned", "rolled", "mlp", "branches"),
)
IMAGE_BLOCKS = (
    *("conv", "conv", "batch norm", "activation", "group norm", "max pool", "average pool"),
    *("residual", "branches", "upsample", "channel mean"),
)


def _image_block(random: np.random.Generator, width: int) -> tuple[str, Any, int]:
    """Name, block and channels after it, for (N, width, H, W)."""
    kind = str(random.choice(IMAGE_BLOCKS))
    name = str(random.choice(list(ACTIVATIONS)))
    if kind == "conv":
        after, size = int(random.integers(2, 5)), int(random.choice([1, 3]))
        return kind, nn.Conv2d(width, after, size, padding=size // 2), after
    if kind == "activation":
        return name, ACTIVATIONS[name], width
    if kind == "branches":
        parts = (
            nn.Conv2d(width, 2, 1),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(width, 2, 1)),
        )
        return kind, Branches(*parts, 1), 4
    blocks: dict[str, Callable[[], Any]] = {
        "batch norm": lambda: _batch_norm(width),
        "group norm": lambda: nn.GroupNorm(1, width),
        "max pool": lambda: nn.MaxPool2d(3, 1, 1),
        "average pool": lambda: nn.AvgPool2d(3, 1, 1),
        "residual": lambda: Residual(nn.Conv2d(width, width, 3, padding=1), 1.0),
        "upsample": lambda: lambda x: F.interpolate(x, scale_factor=2.0)[:, :, ::2, ::2],
        "channel mean": lambda: lambda x: x - x.mean((2, 3), keepdim=True),
    }
    return kind, blocks[kind](), width


def _batch_norm(width: int) -> nn.Module:
    norm = nn.BatchNorm2d(width)
    with torch.no_grad():
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.3, 2)  # type: ignore[union-attr]
        norm.weight.normal_()
    return norm


def draw_network(seed: int) -> tuple[DrawnNetwork, torch.Tensor]:
    """A network of 2 to 8 blocks, and an input, in float32."""
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        is_image = random.random() < 0.3
        width = int(random.integers(2, 4) if is_image else random.integers(3, 9))
        shape = (2, width, 4, 4) if is_image else (2, 3, width)
        x = torch.randn(*shape) * float(random.choice([0.1, 1.0, 1.0, 4.0]))
        names, blocks = [], []
        draw_block = _image_block if is_image else _row_block
        for _ in range(int(random.integers(2, 9))):
            name, block, width = draw_block(random, width)
            names.append(name)
            blocks.append(block)
        return DrawnNetwork(names, blocks).eval().requires_grad_(False), x
