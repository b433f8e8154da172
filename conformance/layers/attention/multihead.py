"""MultiheadAttention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.laws.attention import multihead as laws
from conformance.laws.attention.draws import multihead_draws
from conformance.layers.attention.propagation import multihead
from conformance.model.case import Call, Case
from conformance.oracles.attention import multihead as oracle
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness, State
from conformance.spec.signature import BY_NAME, Argument, Input, Output, Signature, Ties
from conformance.spec.sizes import resized
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.attention import multihead as cases
from conformance.strategies.invalid.attention import multihead as invalid
from conformance.strategies.invalid.breaks import invalid_cases

NAME = "MultiheadAttention"


def _axis(place: int) -> Callable[[Case], int | None]:
    """Of queries, keys and values, which lie alike; of the output."""

    def axis(case: Case) -> int | None:
        query = case.inputs[0]
        if query is None or query.ndim == 2:
            return None
        return 0 if case.call.arguments.get("batch_first", False) else 1

    return axis


def _leading(axes: int, place: int) -> Callable[[Case], int | None]:
    """Of a mask that has so many axes where there is one for each element of a batch."""

    def axis(case: Case) -> int | None:
        query = case.inputs[0]
        x = case.inputs[place] if place < len(case.inputs) else None
        batched = query is not None and query.ndim == 3
        return 0 if batched and x is not None and x.ndim == axes else None

    return axis


def _weights_axis(case: Case) -> int | None:
    query = case.inputs[0]
    return 0 if query is not None and query.ndim == 3 else None


def _state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """In torch's order; the documentation promises nothing of the initial values."""
    embed, bias = arguments["embed_dim"], arguments.get("bias", True)
    others = [arguments.get(name) or embed for name in ("kdim", "vdim")]
    shapes: dict[str, Shape] = {"in_proj_weight": (3 * embed, embed)}
    if others != [embed, embed]:
        sizes = zip("qkv", (embed, *others), strict=True)
        shapes = {f"{name}_proj_weight": (embed, size) for name, size in sizes}
    if bias:
        shapes["in_proj_bias"] = (3 * embed,)
    if arguments.get("add_bias_kv", False):
        shapes |= {"bias_k": (1, 1, embed), "bias_v": (1, 1, embed)}
    shapes["out_proj.weight"] = (embed, embed)
    if bias:
        shapes["out_proj.bias"] = (embed,)
    return tuple(StateTensor(name, shape) for name, shape in shapes.items())


def _lengths(case: Case) -> tuple[Axes, ...]:
    """The axes of queries and of keys."""
    query, key, _, *masks = case.inputs
    assert query is not None
    assert key is not None
    time = int(query.ndim == 3 and case.call.arguments.get("batch_first", False))
    queries, keys = [(0, time)], [(1, time), (2, time)]
    for place, mask in enumerate(masks, 3):
        if mask is not None:
            keys.append((place, mask.ndim - 1))
        if mask is not None and place == 4:
            queries.append((place, mask.ndim - 2))
    if key is query:
        return ((*queries, *keys),)
    return tuple(queries), tuple(keys)


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with its arrays as wide as other arguments ask for."""
    embed, before = arguments["embed_dim"], case.call.arguments
    if embed % arguments["num_heads"]:
        return None
    heads = before["num_heads"] != arguments["num_heads"]
    mask = case.inputs[4] if len(case.inputs) > 4 else None
    turned = before.get("batch_first", False) != arguments.get("batch_first", False)
    if heads and mask is not None and mask.ndim == 3:
        return None
    if mask is None and case.keywords.get("is_causal", False):
        return None
    sizes = (embed, arguments.get("kdim") or embed, arguments.get("vdim") or embed)
    found: dict[tuple[int, int], np.ndarray] = {}
    inputs = list(case.inputs)
    for place, size in enumerate(sizes):
        x = inputs[place]
        assert x is not None
        wide = found.get((id(x), size))
        if wide is None:
            wide = resized(x, (*x.shape[:-1], size)) if x.shape[-1] != size else x
            wide = wide.swapaxes(0, 1).copy() if turned and wide.ndim == 3 else wide
            found[id(x), size] = wide
        inputs[place] = wide
    query, first = inputs[0], 0 if arguments.get("batch_first", False) else 1
    assert query is not None
    if mask is not None and mask.ndim == 3:
        samples = query.shape[first] if query.ndim == 3 else 1
        if len(mask) != samples * arguments["num_heads"]:
            return None
    state = case.call.state
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    wanted = row.state_shapes(arguments, (embed,))
    arrays = {k: resized(state.get(k, source), s) for k, s in wanted.items()}
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    return replace(case, call=call, inputs=tuple(inputs))


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Projections in and out, scores, and what they weigh."""
    query, key, value = workload.inputs[:3]
    embed, axis = query[-1], 1 if workload.arguments.get("batch_first", False) else 0
    rows, columns = (math.prod(x[:-1]) for x in (query, key))
    projections = rows * embed + columns * (key[-1] + value[-1]) + rows * embed
    return 2 * embed * (projections + 2 * rows * key[axis])


def _random(call: Call) -> bool:
    return call.training and call.arguments.get("dropout", 0.0) > 0


_BERT = {"embed_dim": 768, "num_heads": 12, "batch_first": True}


def row() -> LayerSpec:
    """Its row."""
    return LayerSpec(
        NAME,
        "attention",
        signature=Signature(
            (
                Argument("embed_dim", plain=1, size=True),
                Argument("num_heads", plain=1),
                Argument("dropout", 0.0),
                Argument("bias", True, other=False),
                Argument("add_bias_kv", False, other=True),
                Argument("add_zero_attn", False, other=True),
                Argument("kdim", None, ties=Ties(like="embed_dim")),
                Argument("vdim", None, ties=Ties(like="embed_dim")),
                Argument("batch_first", False, other=True),
                Argument("need_weights", True, keyword=True),
                Argument("average_attn_weights", True, keyword=True),
                # The mask is that of so many queries and keys then.
                Argument(
                    "is_causal", False, keyword=True, ties=Ties(fixes_sizes=True, fixes="attn_mask")
                ),
            ),
            (
                *(
                    Input(name, batch_axis=_axis(k))
                    for k, name in enumerate(("query", "key", "value"))
                ),
                Input("key_padding_mask", "mask", True, _leading(2, 3), signed=False),
                Input("attn_mask", "mask", True, _leading(3, 4), passed=BY_NAME, signed=False),
            ),
            (Output("attn_output", _axis(0)), Output("attn_output_weights", _weights_axis)),
            complex=False,
        ),
        oracle=Oracle(
            values=oracle.multihead_attention,
            shapes=oracle.multihead_attention_shape,
            formula=(
                "MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O",
                "head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)",
            ),
            propagation=multihead,
        ),
        generation=Generation(
            cases=partial(cases.multihead_attentions, NAME),
            invalid=invalid_cases(partial(cases.multihead_attentions, NAME), invalid.BREAKS),
            examples=0.8,
        ),
        variation=Variation(refit=_refit, free=_lengths),
        state=State(_state),
        laws=laws.LAWS,
        randomness=Randomness(used=_random, draws=multihead_draws),
        benchmark=Benchmark(
            workloads=(
                Workload(NAME, "bert 12 heads, 64", _BERT, ((1, 64, 768),) * 3, small=True),
                Workload(NAME, "bert 12 heads, 128", _BERT, ((4, 128, 768),) * 3),
            ),
            filling=Filling(scale=lambda name, arguments: 1 / 768, contraction=False),
            flops=_flops,
        ),
    )
