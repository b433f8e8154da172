"""Attention as plain loops, one scalar at a time, after the documentation alone."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from conformance.model.case import Case


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    attn_mask: np.ndarray | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> np.ndarray:
    """scaled_dot_product_attention; a query that attends to nothing gets 0."""
    *leading, rows, width = query.shape
    columns, out = value.shape[-2:]
    factor = 1 / math.sqrt(width) if scale is None else scale
    mask = None
    if attn_mask is not None:
        mask = np.broadcast_to(attn_mask, (*leading, rows, columns))
    output = np.zeros((*leading, rows, out))
    for position in product(*(range(n) for n in leading)):
        source = position
        if enable_gqa:
            source = (*position[:-1], position[-1] // (leading[-1] // key.shape[-3]))
        for i in range(rows):
            scores: dict[int, float] = {}
            for j in range(columns):
                if is_causal and j > i:
                    continue
                score = 0.0
                for e in range(width):
                    score += query[(*position, i, e)] * key[(*source, j, e)]
                score *= factor
                if mask is not None:
                    entry = mask[(*position, i, j)]
                    if entry.dtype == bool:
                        if not entry:
                            continue
                    elif entry == -math.inf:
                        continue
                    else:
                        score += entry
                scores[j] = score
            if not scores:
                continue
            largest = max(scores.values())
            total = sum(math.exp(score - largest) for score in scores.values())
            for e in range(out):
                output[(*position, i, e)] = sum(
                    math.exp(score - largest) / total * value[(*source, j, e)]
                    for j, score in scores.items()
                )
    return output


def reference(case: Case) -> tuple[Any, ...]:
    """A case's outputs."""
    if case.call.layer == "MultiheadAttention":
        return multihead(case)
    return (attention(*case.inputs, **case.call.arguments),)


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """x Wᵀ + b of one vector."""
    total = [0.0] * len(weight) if bias is None else [float(b) for b in bias]
    for row in range(len(weight)):
        for column in range(len(x)):
            total[row] += weight[row, column] * x[column]
    return np.array(total)


def multihead(case: Case) -> tuple[np.ndarray, ...]:
    """MultiheadAttention, query by query; a query that attends to nothing gets weights of 0."""
    state, arguments = case.call.state, {**case.call.arguments, **case.keywords}
    query, key, value, padding, mask = (*case.inputs, None, None)[:5]
    embed_dim, heads = arguments["embed_dim"], arguments["num_heads"]
    width, batch_first = embed_dim // heads, arguments.get("batch_first", False)
    batched = query.ndim == 3
    if not batched:
        query, key, value = (x[np.newaxis] for x in (query, key, value))
        padding = None if padding is None else padding[np.newaxis]
    elif not batch_first:
        query, key, value = (x.swapaxes(0, 1) for x in (query, key, value))
    matrices = [state.get(f"{name}_proj_weight") for name in "qkv"]
    if "in_proj_weight" in state:
        matrices = [state["in_proj_weight"][k * embed_dim : (k + 1) * embed_dim] for k in range(3)]
    biases: list[Any] = [None] * 3
    if "in_proj_bias" in state:
        biases = [state["in_proj_bias"][k * embed_dim : (k + 1) * embed_dim] for k in range(3)]
    batch, rows, columns = *query.shape[:2], key.shape[1]
    outputs = np.zeros((batch, rows, embed_dim))
    extra_keys = bool(arguments.get("add_bias_kv")) + bool(arguments.get("add_zero_attn"))
    weights = np.zeros((batch, heads, rows, columns + extra_keys))
    for n in range(batch):
        q = [_linear(x, matrices[0], biases[0]) for x in query[n]]
        k = [_linear(x, matrices[1], biases[1]) for x in key[n]]
        v = [_linear(x, matrices[2], biases[2]) for x in value[n]]
        if arguments.get("add_bias_kv"):
            k.append(state["bias_k"][0, 0])
            v.append(state["bias_v"][0, 0])
        if arguments.get("add_zero_attn"):
            k.append(np.zeros(embed_dim))
            v.append(np.zeros(embed_dim))
        for i in range(rows):
            head_outputs = np.zeros(embed_dim)
            for h in range(heads):
                head_slice = slice(h * width, (h + 1) * width)
                scores = {}
                for j in range(len(k)):
                    mask_entries: list[Any] = []
                    if j < columns and padding is not None:
                        mask_entries.append(padding[n, j])
                    if j < columns and mask is not None:
                        mask_entries.append(
                            mask[i, j] if mask.ndim == 2 else mask[n * heads + h, i, j]
                        )
                    if any(a if a.dtype == bool else a == -math.inf for a in mask_entries):
                        continue
                    score = sum(
                        a * b for a, b in zip(q[i][head_slice], k[j][head_slice], strict=False)
                    ) / math.sqrt(width)
                    scores[j] = score + sum(float(a) for a in mask_entries if a.dtype != bool)
                largest = max(scores.values(), default=0.0)
                total = sum(math.exp(s - largest) for s in scores.values())
                for j, s in scores.items():
                    weights[n, h, i, j] = math.exp(s - largest) / total
                    head_outputs[head_slice] += weights[n, h, i, j] * v[j][head_slice]
            outputs[n, i] = _linear(
                head_outputs, state["out_proj.weight"], state.get("out_proj.bias")
            )
    if arguments.get("average_attn_weights", True):
        weights = sum(weights[:, h] for h in range(heads)) / heads
    if not batched:
        outputs, weights = outputs[0], weights[0]
    elif not batch_first:
        outputs = outputs.swapaxes(0, 1)
    return (outputs, weights) if arguments.get("need_weights", True) else (outputs,)
