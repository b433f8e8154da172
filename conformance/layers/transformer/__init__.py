"""TransformerEncoderLayer and TransformerDecoderLayer; their stacks are in `stacks`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from conformance.laws.transformer import layers as laws
from conformance.laws.transformer.draws import layer_draws
from conformance.layers.transformer import stacks
from conformance.layers.transformer.inputs import (
    LAYER_ARGUMENTS,
    call_shapes,
    causal_hint,
    draws_random,
    make_inputs,
)
from conformance.layers.transformer.parts import FACTS, allows
from conformance.layers.transformer.propagation import transformer_propagation
from conformance.layers.transformer.state import decoder_layer_tensors, encoder_layer_tensors
from conformance.oracles import transformer as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Oracle,
    Randomness,
    State,
    Traits,
)
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid import transformer as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.transformer import layers as cases

ENCODER, DECODER = "TransformerEncoderLayer", "TransformerDecoderLayer"


def _flops(
    attentions: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    """Operations of each attention (projections, scores, weighted sums) and both linear layers."""
    rows, width = math.prod(outputs[0][:-1]), outputs[0][-1]
    keys = [workload.inputs[k] for k in range(attentions)]
    total: int = 2 * rows * width * workload.arguments["dim_feedforward"]
    for key in keys:
        columns = math.prod(key[:-1])
        total += 2 * (rows + columns) * width * width + 2 * rows * key[1] * width
    return 2 * total


_SIZES = {"d_model": 256, "nhead": 4, "dim_feedforward": 1024, "batch_first": True}


def _layer_spec(
    name: str,
    layer_inputs: tuple[Input, ...],
    hints: tuple[Argument, ...],
    state: Callable[[Mapping[str, Any], Shape], tuple[StateTensor, ...]],
    formula: tuple[str, ...],
    prefix: str,
) -> LayerSpec:
    count = 1 if prefix == "encoder" else 2
    valid = partial(getattr(cases, f"{prefix}_layers"), name)
    signature = Signature(
        (*LAYER_ARGUMENTS, *hints), layer_inputs, (Output("output"),), supports_complex=False
    )
    sizes = call_shapes(signature)
    breaks = invalid.layer_breaks(name, signature, sizes)
    return LayerSpec(
        name,
        "transformer",
        signature=signature,
        shapes=sizes,
        oracle=Oracle(
            values=getattr(oracle, f"transformer_{prefix}_layer"),
            formula=formula,
            propagation=transformer_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, breaks),
            examples_fraction=0.25,
            max_planned_size=0,
        ),
        variation=Variation(allows=allows),
        state=State(state),
        conditions=Conditions(derived_facts=FACTS),
        laws=laws.SHARED,
        randomness=Randomness(is_used=draws_random, draws=layer_draws),
        traits=Traits(has_sublayers=True),
        benchmark=Benchmark(
            workloads=(
                Workload(name, "32 tokens of 256", _SIZES, ((1, 32, 256),) * count, small=True),
            ),
            filling=Filling(scale=lambda name, arguments: 1 / 256, contraction=False),
            flops=partial(_flops, count),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The layers, then their stacks."""
    yield _layer_spec(
        ENCODER,
        make_inputs("src", "src_mask", "src_key_padding_mask"),
        (causal_hint("is_causal"),),
        encoder_layer_tensors,
        (
            "y = norm1(x + attention(x, x, x)), norm2(y + linear2(activation(linear1(y))))",
            "norm_first: y = x + attention(norm1(x)), y + linear2(activation(linear1(norm2(y))))",
        ),
        "encoder",
    )
    yield _layer_spec(
        DECODER,
        make_inputs(*stacks.DECODER_INPUTS),
        (causal_hint("tgt_is_causal"), causal_hint("memory_is_causal")),
        decoder_layer_tensors,
        (
            "y = norm1(x + attention(x, x, x)), z = norm2(y + attention(y, memory, memory)),",
            "norm3(z + linear2(activation(linear1(z))))",
            "norm_first: each norm is of what an attention or linear1 takes, as in the encoder",
        ),
        "decoder",
    )
    yield from stacks.layer_specs()
