"""Planted bugs in recurrent cells that are written out, and in embeddings.

Written by someone who had not seen the checker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's documentation calls it so

from planted.network.bug import CompositeBug, Draw

draw = Draw(4210)
TOKENS = draw.normal(2, 6, 8)
STEPS = (draw.normal(2, 4, 5), draw.normal(2, 6), draw.normal(2, 6))
lstm_from_input = draw.layer(nn.Linear, 5, 24)
lstm_from_state = draw.layer(nn.Linear, 6, 24)


def lstm(
    x: Tensor,
    state: Tensor,
    cell: Tensor,
    order: tuple[int, int, int, int] = (0, 1, 2, 3),
    tanh: Callable[[Tensor], Tensor] = torch.tanh,
) -> Tensor:
    outputs = []
    for step in range(4):
        gates = (lstm_from_input(x[:, step]) + lstm_from_state(state)).chunk(4, dim=-1)
        entry, forget, fresh, out = (gates[place] for place in order)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(entry) * tanh(fresh)
        state = torch.sigmoid(out) * tanh(cell)
        outputs.append(state)
    return torch.stack(outputs, dim=1)


def rational_tanh(x: Tensor) -> Tensor:
    square = x * x
    ratio = x * (105.0 + 10.0 * square) / (105.0 + square * (45.0 + square))
    return ratio.clamp(-1.0, 1.0)


gru_from_input = draw.layer(nn.Linear, 5, 18)
gru_from_state = draw.layer(nn.Linear, 6, 18)


def gru_step(x: Tensor, state: Tensor) -> Tensor:
    reset_in, update_in, fresh_in = gru_from_input(x).chunk(3, dim=-1)
    reset_state, update_state, fresh_state = gru_from_state(state).chunk(3, dim=-1)
    reset = torch.sigmoid(reset_in + reset_state)
    update = torch.sigmoid(update_in + update_state)
    fresh = torch.tanh(fresh_in + reset * fresh_state)
    return (1.0 - update) * fresh + update * state


def gru_step_reset_before(x: Tensor, state: Tensor) -> Tensor:
    reset_in, update_in, fresh_in = gru_from_input(x).chunk(3, dim=-1)
    reset_state, update_state, _ = gru_from_state(state).chunk(3, dim=-1)
    reset = torch.sigmoid(reset_in + reset_state)
    update = torch.sigmoid(update_in + update_state)
    fresh_state = F.linear(reset * state, gru_from_state.weight[12:], gru_from_state.bias[12:])
    fresh = torch.tanh(fresh_in + fresh_state)
    return (1.0 - update) * fresh + update * state


token_table = draw.normal(11, 12)
position_table = draw.normal(9, 12, scale=0.5)
embed_norm = draw.layer(nn.LayerNorm, 12)
TOKEN_IDS = draw.integers(11, 2, 6)


def embed(ids: Tensor, first_position: int = 0) -> Tensor:
    length = ids.shape[1]
    positions = position_table[first_position : first_position + length]
    return embed_norm(F.embedding(ids, token_table) + positions)


LENGTH_MASK = (torch.arange(6) < torch.tensor([[6], [4]])).float()
mean_head = draw.layer(nn.Linear, 8, 5)


def mean_pool(x: Tensor, mask: Tensor) -> Tensor:
    total = (x * mask[:, :, None]).sum(dim=1)
    return mean_head(total / mask.sum(dim=1, keepdim=True))


def mean_pool_over_padding(x: Tensor, mask: Tensor) -> Tensor:
    return mean_head((x * mask[:, :, None]).mean(dim=1))


BUGS = (
    CompositeBug(
        "LSTM gates are read in the order of another library",
        lstm,
        partial(lstm, order=(0, 1, 3, 2)),
        STEPS,
    ),
    CompositeBug(
        "tanh of the LSTM is a rational approximation",
        lstm,
        partial(lstm, tanh=rational_tanh),
        STEPS,
    ),
    CompositeBug(
        "GRU reset gate is applied before the product",
        gru_step,
        gru_step_reset_before,
        (draw.normal(3, 5), draw.normal(3, 6)),
    ),
    CompositeBug(
        "position embedding starts at one", embed, partial(embed, first_position=1), (TOKEN_IDS,)
    ),
    CompositeBug(
        "mean over time counts the padding",
        mean_pool,
        mean_pool_over_padding,
        (TOKENS, LENGTH_MASK),
    ),
)
