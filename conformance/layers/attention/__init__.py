"""MultiheadAttention, functional.scaled_dot_product_attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.attention import scaled_dot_product as laws
from conformance.laws.attention.draws import sdpa_draws
from conformance.layers.attention import multihead as multihead_attention
from conformance.layers.attention.propagation import attention
from conformance.model.case import Call, Case
from conformance.oracles.attention import scaled_dot_product as oracle
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.attention import scaled_dot_product as cases
from conformance.strategies.invalid.attention import scaled_dot_product as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_SDPA = "functional.scaled_dot_product_attention"


def _batch_axis(case: Case) -> int | None:
    """Axis 0 if there are at least two leading axes: a single one counts heads."""
    query = case.inputs[0]
    return 0 if query is not None and query.ndim > 3 else None


def _mask_batch_axis(case: Case) -> int | None:
    """Axis 0 of the mask if it counts the batch; a mask may also have size 1 there, or no axis."""
    query, mask = case.inputs[0], case.inputs[3]
    if query is None or mask is None or query.ndim < 4:
        return None
    return 0 if mask.ndim == query.ndim and len(mask) == len(query) else None


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None with two masks, or where the heads do not match."""
    query, key = case.inputs[:2]
    assert query is not None
    assert key is not None
    if not arguments.get("enable_gqa", False) and query.shape[:-2] != key.shape[:-2]:
        return None
    masked = len(case.inputs) > 3 and case.inputs[3] is not None
    if masked and arguments.get("is_causal", False):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _independent_axes(case: Case) -> tuple[Axes, ...]:
    """The axes of the queries, of the keys, of their features, and of the values' features."""
    query, key, value, *masks = case.inputs
    assert query is not None
    assert key is not None
    assert value is not None
    queries, keys = [(0, query.ndim - 2)], [(1, key.ndim - 2), (2, value.ndim - 2)]
    for mask in masks:
        if mask is not None and mask.ndim > 1 and mask.shape[-2] == query.shape[-2]:
            queries.append((3, mask.ndim - 2))
        if mask is not None and mask.ndim and mask.shape[-1] == key.shape[-2]:
            keys.append((3, mask.ndim - 1))
    width = ((0, query.ndim - 1), (1, key.ndim - 1))
    return tuple(queries), tuple(keys), width, ((2, value.ndim - 1),)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    query, key, value = workload.inputs[:3]
    pairs = math.prod(query[:-1]) * key[-2]
    return 2 * pairs * (query[-1] + value[-1])


# Sizes of GPT-2 and of BERT-base, a head of 64 numbers.
_HEADS: tuple[tuple[str, tuple[Shape, ...], dict[str, bool]], ...] = (
    ("bert 12 heads, 128", ((1, 12, 128, 64),) * 3, {}),
    ("gpt2 12 heads, 512, causal", ((1, 12, 512, 64),) * 3, {"is_causal": True}),
    # One head: the oracle needs about 200 bytes for each score.
    ("1 head, 2048, causal", ((1, 1, 2048, 64),) * 3, {"is_causal": True}),
    ("1 head, 1024 against 4096", ((1, 1, 1024, 64), *((1, 1, 4096, 64),) * 2), {}),
    ("decoding against 1024", ((1, 12, 1, 64), *((1, 12, 1024, 64),) * 2), {}),
)


def _draws_random(call: Call) -> bool:
    return bool(call.arguments.get("dropout_p", 0.0) > 0)


def _attention_spec() -> LayerSpec:
    return LayerSpec(
        _SDPA,
        "attention",
        signature=Signature(
            (
                Argument("dropout_p", 0.0),
                Argument("is_causal", False, alternative=True),
                Argument("scale", None, alternative=1.0),
                Argument("enable_gqa", False),
            ),
            (
                *(Input(name, batch_axis=_batch_axis) for name in ("query", "key", "value")),
                Input(
                    "attn_mask", "mask", optional=True, batch_axis=_mask_batch_axis, any_value=False
                ),
            ),
            (Output("output", _batch_axis),),
            supports_complex=False,
        ),
        oracle=Oracle(
            values=oracle.functional_scaled_dot_product_attention,
            shapes=oracle.functional_scaled_dot_product_attention_shape,
            formula=(
                "attn_weight = softmax(query key^T * scale + attn_bias), scale = 1/sqrt(E)",
                "output = attn_weight value",
            ),
            propagation=attention,
        ),
        generation=Generation(
            cases=partial(cases.attentions, _SDPA),
            invalid=invalid_cases(partial(cases.attentions, _SDPA), invalid.BREAKS),
        ),
        variation=Variation(resize=_resize, independent_axes=_independent_axes),
        laws=laws.LAWS,
        randomness=Randomness(is_used=_draws_random, draws=sdpa_draws),
        benchmark=Benchmark(
            workloads=tuple(
                Workload(_SDPA, name, arguments, inputs, k == 0)
                for k, (name, inputs, arguments) in enumerate(_HEADS)
            ),
            filling=Filling(contraction=False),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    yield multihead_attention.spec()
    yield _attention_spec()
