"""MultiheadAttention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from conformance.laws.attention import multihead as laws
from conformance.laws.attention.draws import multihead_draws
from conformance.layers.attention.propagation import multihead
from conformance.model.case import Call, Case
from conformance.oracles.attention import multihead as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness, State
from conformance.spec.shapes import Shapes
from conformance.spec.signature import BY_NAME, Argument, Arguments, Input, Output, Signature, Ties
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.attention import multihead as cases
from conformance.strategies.invalid.attention import multihead as invalid
from conformance.strategies.invalid.breaks import invalid_cases

NAME = "MultiheadAttention"


def _sequence_shape(length: str, width: str) -> str:
    return f"batch? {length} {width} if batch_first else {length} batch? {width}"


_SHAPES = Shapes(
    {
        "query": _sequence_shape("queries", "embed_dim"),
        "key": _sequence_shape("keys", "kdim"),
        "value": _sequence_shape("keys", "vdim"),
        "key_padding_mask": "batch? keys",
        "attn_mask": "((1 if batch is None else batch)*num_heads)? queries keys",
        "in_proj_weight": "(3*embed_dim) embed_dim if joint",
        "q_proj_weight": "embed_dim embed_dim if not joint",
        "k_proj_weight": "embed_dim kdim if not joint",
        "v_proj_weight": "embed_dim vdim if not joint",
        "in_proj_bias": "(3*embed_dim) if bias",
        "bias_k": "1 1 embed_dim if add_bias_kv",
        "bias_v": "1 1 embed_dim if add_bias_kv",
        "out_proj.weight": "embed_dim embed_dim",
        "out_proj.bias": "embed_dim if bias",
        "attn_output": _sequence_shape("queries", "embed_dim"),
        "attn_output_weights": "batch? queries sources if need_weights and average_attn_weights"
        " else batch? num_heads queries sources if need_weights",
    },
    where=("embed_dim % num_heads == 0",),
    let={
        "joint": "kdim == embed_dim and vdim == embed_dim",
        "sources": "keys + add_bias_kv + add_zero_attn",
    },
)


def _state_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """The state's tensors; the documentation does not specify their initial values."""
    return tuple(StateTensor(name, shape) for name, shape in shapes.items())


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the case has the mask that `is_causal` describes."""
    return not case.keywords.get("is_causal", False) or case.inputs[4] is not None


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of the projections in and out, the scores, and the weighted sums."""
    query, key, value = workload.inputs[:3]
    embed, axis = query[-1], 1 if workload.arguments.get("batch_first", False) else 0
    rows, columns = (math.prod(x[:-1]) for x in (query, key))
    projections = rows * embed + columns * (key[-1] + value[-1]) + rows * embed
    return 2 * embed * (projections + 2 * rows * key[axis])


def _draws_random(call: Call) -> bool:
    return call.training and call.arguments.get("dropout", 0.0) > 0


_BERT = {"embed_dim": 768, "num_heads": 12, "batch_first": True}


def spec() -> LayerSpec:
    """The specification of MultiheadAttention."""
    signature = Signature(
        (
            Argument("embed_dim", simplest=1, size=True),
            Argument("num_heads", simplest=1),
            Argument("dropout", 0.0),
            Argument("bias", True, alternative=False, attribute="in_proj_bias"),
            Argument("add_bias_kv", False, alternative=True, attribute="bias_k"),
            Argument("add_zero_attn", False, alternative=True),
            Argument("kdim", None, ties=Ties(replaces_none="embed_dim")),
            Argument("vdim", None, ties=Ties(replaces_none="embed_dim")),
            Argument("batch_first", False, alternative=True),
            Argument("need_weights", True, keyword=True),
            Argument("average_attn_weights", True, keyword=True),
            # With is_causal the mask must stay the causal one, so that no length may change.
            Argument(
                "is_causal",
                False,
                keyword=True,
                ties=Ties(fixes_sizes=True, constrains="attn_mask"),
            ),
        ),
        (
            *map(Input, ("query", "key", "value")),
            Input("key_padding_mask", "mask", True, any_value=False),
            Input("attn_mask", "mask", True, passing=BY_NAME, any_value=False),
        ),
        (Output("attn_output"), Output("attn_output_weights")),
        supports_complex=False,
    )
    breaks = invalid.multihead_breaks(signature, _SHAPES)
    return LayerSpec(
        NAME,
        "attention",
        signature=signature,
        shapes=_SHAPES,
        oracle=Oracle(
            values=oracle.multihead_attention,
            formula=(
                "MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O",
                "head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)",
            ),
            propagation=multihead,
        ),
        generation=Generation(
            cases=partial(cases.multihead_attentions, NAME),
            invalid=invalid_cases(partial(cases.multihead_attentions, NAME), breaks),
            examples_fraction=0.8,
        ),
        variation=Variation(allows=_allows),
        state=State(tensors_from_shapes=_state_tensors),
        laws=laws.LAWS,
        randomness=Randomness(is_used=_draws_random, draws=multihead_draws),
        benchmark=Benchmark(
            workloads=(
                Workload(NAME, "bert 12 heads, 64", _BERT, ((1, 64, 768),) * 3, small=True),
                Workload(NAME, "bert 12 heads, 128", _BERT, ((4, 128, 768),) * 3),
            ),
            filling=Filling(scale=lambda name, arguments: 1 / 768, contraction=False),
            flops=_flops,
        ),
    )
