"""Planted bugs in attention that is written out.

Written by someone who had not seen the checker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from planted.network.bug import CompositeBug, Draw

draw = Draw(4209)
TOKENS = draw.normal(2, 6, 8)
attention_in = draw.layer(nn.Linear, 8, 24)
attention_out = draw.layer(nn.Linear, 8, 8)
FUTURE = torch.ones(6, 6).triu(1).bool()


def keep_bits(x: Tensor, bits: int) -> Tensor:
    """Round float32 values to the given number of stored mantissa bits."""
    drop = 23 - bits
    raw = x.contiguous().view(torch.int32) + (1 << (drop - 1))
    return (raw >> drop << drop).view(torch.float32)


def last_softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1)


def causal_attention(
    x: Tensor,
    hidden: Tensor = FUTURE,
    fill: float = -math.inf,
    softmax: Callable[[Tensor], Tensor] = last_softmax,
) -> Tensor:
    n, length, width = x.shape
    heads = attention_in(x).view(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
    query, key, value = heads[0], heads[1], heads[2]
    scores = torch.matmul(query, key.transpose(-2, -1)) * 0.5
    mixed = torch.matmul(softmax(scores.masked_fill(hidden, fill)), value)
    return attention_out(mixed.transpose(1, 2).reshape(n, length, width))


def softmax_dropout_scale(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1) / 0.9


def softmax_stored_in_half(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1).half().float()


def softmax_of_short_scores(x: Tensor) -> Tensor:
    return torch.softmax(keep_bits(x, 16), dim=-1)


def softmax_short_polynomial(x: Tensor) -> Tensor:
    """Softmax whose exp stops at the fourth power of the Taylor series."""
    shifted = (x - x.amax(dim=-1, keepdim=True)).clamp(min=-80.0)
    whole = torch.round(shifted / math.log(2.0))
    rest = shifted - whole * math.log(2.0)
    series = 1.0 + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest / 24.0)))
    powers = torch.ldexp(series, whole.int())
    return powers / powers.sum(dim=-1, keepdim=True)


GROUPED = (draw.normal(2, 4, 5, 4), draw.normal(2, 2, 5, 4), draw.normal(2, 2, 5, 4))


def repeat_each_head(x: Tensor) -> Tensor:
    return x[:, :, None].expand(2, 2, 2, 5, 4).reshape(2, 4, 5, 4)


def repeat_all_heads(x: Tensor) -> Tensor:
    return x[:, None].expand(2, 2, 2, 5, 4).reshape(2, 4, 5, 4)


def grouped_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    repeat: Callable[[Tensor], Tensor] = repeat_each_head,
) -> Tensor:
    scores = torch.matmul(query, repeat(key).transpose(-2, -1)) * 0.5
    return torch.matmul(torch.softmax(scores, dim=-1), repeat(value))


PADDED_KEYS = torch.arange(10) >= torch.tensor([[10], [7]])
PADDED = (draw.normal(2, 3, 4), draw.normal(2, 10, 4), draw.normal(2, 10, 4), PADDED_KEYS)


def padded_attention(query: Tensor, key: Tensor, value: Tensor, padded: Tensor) -> Tensor:
    scores = torch.bmm(query, key.transpose(1, 2)) * 0.5
    scores = scores.masked_fill(padded[:, None, :], -math.inf)
    return torch.bmm(torch.softmax(scores, dim=-1), value)


def padded_attention_first_mask(
    query: Tensor, key: Tensor, value: Tensor, padded: Tensor
) -> Tensor:
    return padded_attention(query, key, value, padded[:1])


def padded_attention_whole_blocks(
    query: Tensor, key: Tensor, value: Tensor, padded: Tensor, block: int = 4
) -> Tensor:
    end = key.shape[1] // block * block
    return padded_attention(query, key[:, :end], value[:, :end], padded[:, :end])


QUERY_AND_KEY = (draw.normal(2, 10, 8), draw.normal(2, 10, 8))


def rope_tables(log_base: float) -> tuple[Tensor, Tensor]:
    angles = torch.arange(10.0)[:, None] * torch.exp(-log_base * torch.arange(4.0) / 4)
    return torch.cos(angles), torch.sin(angles)


ROPE_TABLES = rope_tables(math.log(10000.0))


def rotate_halves(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = tables
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotate_neighbours(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = tables
    first, second = x[..., 0::2], x[..., 1::2]
    pairs = [first * cos - second * sin, second * cos + first * sin]
    return torch.stack(pairs, dim=-1).flatten(-2)


def rope_scores(
    query: Tensor,
    key: Tensor,
    rotate: Callable[[Tensor, tuple[Tensor, Tensor]], Tensor] = rotate_halves,
    tables: tuple[Tensor, Tensor] = ROPE_TABLES,
) -> Tensor:
    scores = torch.bmm(rotate(query, tables), rotate(key, tables).transpose(1, 2))
    return torch.softmax(scores * 8**-0.5, dim=-1)


BUGS = (
    CompositeBug(
        "causal mask lets the next token through",
        causal_attention,
        partial(causal_attention, hidden=torch.ones(6, 6).triu(2).bool()),
        (TOKENS,),
    ),
    CompositeBug(
        "causal mask fills with -10",
        causal_attention,
        partial(causal_attention, fill=-10.0),
        (TOKENS,),
    ),
    CompositeBug(
        "dropout scale is left in the attention",
        causal_attention,
        partial(causal_attention, softmax=softmax_dropout_scale),
        (TOKENS,),
    ),
    CompositeBug(
        "attention weights are stored in float16",
        causal_attention,
        partial(causal_attention, softmax=softmax_stored_in_half),
        (TOKENS,),
    ),
    CompositeBug(
        "attention scores keep 16 bits of mantissa",
        causal_attention,
        partial(causal_attention, softmax=softmax_of_short_scores),
        (TOKENS * 1.5,),
    ),
    CompositeBug(
        "exp in the attention is a polynomial one degree short",
        causal_attention,
        partial(causal_attention, softmax=softmax_short_polynomial),
        (TOKENS * 0.6,),
    ),
    CompositeBug(
        "grouped key heads are repeated as a whole",
        grouped_attention,
        partial(grouped_attention, repeat=repeat_all_heads),
        GROUPED,
    ),
    CompositeBug(
        "padding mask of the first batch element is used for all",
        padded_attention,
        padded_attention_first_mask,
        PADDED,
    ),
    CompositeBug(
        "last key block is lost when the length does not divide",
        padded_attention,
        padded_attention_whole_blocks,
        PADDED,
    ),
    CompositeBug(
        "rotary embedding pairs neighbours instead of halves",
        rope_scores,
        partial(rope_scores, rotate=rotate_neighbours),
        QUERY_AND_KEY,
    ),
    CompositeBug(
        "rotary embedding takes log(10000) as 9.21",
        rope_scores,
        partial(rope_scores, tables=rope_tables(9.21)),
        QUERY_AND_KEY,
    ),
)
