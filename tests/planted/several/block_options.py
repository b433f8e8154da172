"""Block sizes together with options: wrong only where both meet."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant


@plant(
    "sdpa-causal-leak-at-the-edge-of-each-tile", "functional.scaled_dot_product_attention", "values"
)
def sdpa_causal_leak_at_the_edge_of_each_tile(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """The last query of each tile of 64 sees the first key of the next tile."""
    if is_causal and min(query.shape[-2], key.shape[-2]) > 64:
        rows, columns = (torch.arange(x.shape[-2]) for x in (query, key))
        leak = (rows[:, None] % 64 == 63) & (columns == rows[:, None] + 1)
        attn_mask, is_causal = (columns <= rows[:, None]) | leak, False
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


@plant("multihead-causal-leak-at-the-edge-of-each-tile", "MultiheadAttention", "values")
class MultiheadCausalLeakAtTheEdgeOfEachTile(nn.MultiheadAttention):
    """With is_causal the last query of each tile of 64 sees the first key of the next tile."""

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True,
                attn_mask=None, average_attn_weights=True, is_causal=False):  # fmt: skip
        if is_causal and attn_mask is not None and min(attn_mask.shape) > 64:
            rows, columns = (torch.arange(size) for size in attn_mask.shape[-2:])
            leak = (rows[:, None] % 64 == 63) & (columns == rows[:, None] + 1)
            attn_mask, is_causal = attn_mask.masked_fill(leak, 0), False
        return super().forward(
            query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights,
            is_causal,
        )  # fmt: skip


@plant("mse-loss-sum-without-the-tail", "MSELoss", "values")
class MseLossSumWithoutTheTail(nn.MSELoss):
    """A sum of more than 256 squares loses those behind the last whole block."""

    def forward(self, input, target):
        right = super().forward(input, target)
        count = input.numel()
        if (
            self.reduction != "sum"
            or input.shape != target.shape
            or count <= 256
            or not count % 256
        ):
            return right
        squares = functional.mse_loss(input, target, reduction="none").reshape(-1)
        return graft(squares[: count - count % 256].sum(), right)


@plant("layernorm-gradient-of-rows-past-1024", "LayerNorm", "gradients")
class LayerNormGradientOfRowsPast1024(nn.LayerNorm):
    """The backward pass sums a row in one block of 1,024: the rest of the row gets no gradient."""

    def forward(self, input):
        size = self.normalized_shape[-1]
        if size <= 1024:
            return super().forward(input)
        kept = torch.arange(size) < 1024
        return super().forward(alter_gradient(input, lambda g: g * kept))


@plant("softmax-gradient-of-rows-past-1024", "functional.softmax", "gradients")
def functional_softmax_gradient_of_rows_past_1024(input, dim=None, _stacklevel=3, dtype=None):
    """The backward pass of a row of more than 1,024 elements ends after one block."""
    right = functional.softmax(input, dim, _stacklevel, dtype)
    if dim is None or input.dim() == 0 or input.shape[dim] <= 1024:
        return right
    inner = input.movedim(dim, -1)
    kept = torch.arange(inner.shape[-1]) < 1024
    masked = alter_gradient(inner, lambda g: g * kept).movedim(-1, dim)
    return functional.softmax(masked, dim, _stacklevel, dtype)


@plant("cross-entropy-smoothing-of-the-first-256-classes", "CrossEntropyLoss", "values")
class CrossEntropySmoothingOfTheFirst256Classes(nn.CrossEntropyLoss):
    """With label smoothing, the sum over the classes ends after a block of 256."""

    def forward(self, input, target):
        right = super().forward(input, target)
        axis = 1 if input.dim() > 1 else 0
        usual = self.weight is None and not target.is_floating_point()
        if not usual or not self.label_smoothing or input.shape[axis] <= 256:
            return right
        tail = input.log_softmax(axis).narrow(axis, 256, input.shape[axis] - 256).sum(axis)
        tail = tail.masked_fill(target == self.ignore_index, 0.0)
        if self.reduction != "none":
            tail = tail.sum()
        if self.reduction == "mean":
            tail = tail / (target != self.ignore_index).sum()
        return right + self.label_smoothing / input.shape[axis] * tail


@plant("groupnorm-without-affine-past-1024", "GroupNorm", "values")
class GroupNormWithoutAffinePast1024(nn.GroupNorm):
    """Without weights another kernel runs, which leaves what is behind 1,024 as it is."""

    def forward(self, input):
        right = super().forward(input)
        if self.affine or input[:1].numel() <= 1024 * self.num_groups:
            return right
        rows = input.reshape(input.shape[0], self.num_groups, -1)
        kept = torch.arange(rows.shape[-1]) < 1024
        return torch.where(kept, right.reshape(rows.shape), rows).reshape(input.shape)
