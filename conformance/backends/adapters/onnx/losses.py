"""Losses of classes, attention and dropout in ONNX.

NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss need a batch, which is added to an input that
has none. ONNX has no probabilities as targets, no label smoothing and no dropout in attention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value
from conformance.backends.adapters.shared import require_supported
from conformance.model.case import Unsupported

# The opset that first has the operator, if it is later than the default.
ATTENTION_OPSET = 23
REDUCTIONS = ("none", "mean", "sum")


def class_loss(
    graph: Graph, input: Value, target: Value, weight: Value | None = None, *, operator: str,
    ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0,
) -> str:  # fmt: skip
    """NLLLoss and CrossEntropyLoss with classes as targets."""
    require_supported(label_smoothing=(label_smoothing, 0.0))
    if reduction not in REDUCTIONS:
        raise Unsupported(f"reduction={reduction!r}")
    if target.dtype != np.int64:
        raise Unsupported("target of probabilities")
    is_unbatched = input.rank == 1
    expected_shape = () if is_unbatched else (input.shape[0], *input.shape[2:])
    if input.rank < 1 or target.shape != expected_shape:
        raise Unsupported(f"a target of shape {target.shape}, which an operator may take")
    classes = input.shape[0 if is_unbatched else 1]
    if weight is not None and weight.shape != (classes,):
        raise Unsupported("a weight of another shape, which an operator may take")
    x, targets = input.name, target.name
    if is_unbatched:
        x, targets = (graph.add("Unsqueeze", y, graph.integers(0)) for y in (x, targets))
    y = graph.add(
        operator, x, targets, None if weight is None else weight.name, reduction=reduction,
        ignore_index=ignore_index,
    )  # fmt: skip
    return graph.add("Squeeze", y, graph.integers(0)) if is_unbatched and reduction == "none" else y


def attention(
    graph: Graph, query: Value, key: Value, value: Value, attn_mask: Value | None = None, *,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> str:  # fmt: skip
    """Attention of four axes; three axes get an axis of heads."""
    require_supported(dropout_p=(dropout_p, 0.0))
    if {x.rank for x in (query, key, value)} not in ({3}, {4}):
        raise Unsupported("other than three or four axes")
    if query.shape[:-3] != key.shape[:-3] or key.shape[:-1] != value.shape[:-1]:
        raise Unsupported("leading dimensions that differ, which Attention does not refuse")
    heads = query.rank == 4 and query.shape[1] != key.shape[1]
    if query.shape[-1] != key.shape[-1] or (heads and not enable_gqa):
        raise Unsupported("sizes that differ, which Attention may take")
    if query.rank == 3 and query.shape[0] != key.shape[0]:
        raise Unsupported("batches that differ, which Attention may take")
    if attn_mask is not None and attn_mask.dtype not in (query.dtype, np.bool_):
        raise Unsupported(f"a mask of {attn_mask.dtype}, which Attention does not refuse")
    if attn_mask is not None and attn_mask.rank < 2:
        raise Unsupported(f"a mask of {attn_mask.rank} axes")
    if attn_mask is not None and attn_mask.shape[-1] != key.shape[-2]:
        raise Unsupported("a mask that is broadcast along the keys, which Attention fills with −∞")
    if attn_mask is not None and is_causal:
        raise Unsupported("is_causal with a mask")
    names = [x.name for x in (query, key, value)]
    mask = None if attn_mask is None else attn_mask.name
    if query.rank == 3:
        axis = graph.integers(1)
        names = [graph.add("Unsqueeze", name, axis) for name in names]
        if attn_mask is not None and attn_mask.rank == 3:
            mask = graph.add("Unsqueeze", attn_mask.name, axis)
    if scale is not None and scale < 0:
        raise Unsupported(f"scale={scale!r}, of which Attention takes the square root")
    attributes = {} if scale is None else {"scale": graph.attribute("scale", scale)}
    y = graph.add(
        "Attention", *names, mask, since=ATTENTION_OPSET, is_causal=int(is_causal), **attributes
    )
    return graph.add("Squeeze", y, graph.integers(1)) if query.rank == 3 else y


def dropout(
    graph: Graph, input: Value, *, p: float = 0.5, training: bool | None = None,
    inplace: bool = False,
) -> str:  # fmt: skip
    """Dropout, whose ratio must be below 1."""
    require_supported(inplace=(inplace, False))
    mode = graph.training if training is None else training
    if not 0 <= p < 1:
        raise Unsupported(f"p={p!r}")
    wide = np.float64 if graph.dtype == np.float64 else np.float32
    ratio = graph.constant(np.array(p, dtype=wide))
    return graph.add("Dropout", input.name, ratio, graph.constant(np.array(mode)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "NLLLoss": partial(class_loss, operator="NegativeLogLikelihoodLoss"),
    "functional.nll_loss": partial(class_loss, operator="NegativeLogLikelihoodLoss"),
    "CrossEntropyLoss": partial(class_loss, operator="SoftmaxCrossEntropyLoss"),
    "functional.cross_entropy": partial(class_loss, operator="SoftmaxCrossEntropyLoss"),
    "functional.scaled_dot_product_attention": attention,
    "Dropout": dropout,
    "functional.dropout": partial(dropout, training=True),
}
