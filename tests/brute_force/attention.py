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
    for where in product(*(range(n) for n in leading)):
        source = where
        if enable_gqa:
            source = (*where[:-1], where[-1] // (leading[-1] // key.shape[-3]))
        for i in range(rows):
            scores: dict[int, float] = {}
            for j in range(columns):
                if is_causal and j > i:
                    continue
                score = 0.0
                for e in range(width):
                    score += query[(*where, i, e)] * key[(*source, j, e)]
                score *= factor
                if mask is not None:
                    entry = mask[(*where, i, j)]
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
                output[(*where, i, e)] = sum(
                    math.exp(score - largest) / total * value[(*source, j, e)]
                    for j, score in scores.items()
                )
    return output


def reference(case: Case) -> tuple[Any, ...]:
    """A case's outputs."""
    return (attention(*case.inputs, **case.call.arguments),)
