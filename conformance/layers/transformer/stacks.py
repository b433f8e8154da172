"""TransformerEncoder, TransformerDecoder, Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.laws.transformer import stacks as laws
from conformance.laws.transformer.calls import layer_arguments
from conformance.laws.transformer.draws import layer_draws, without_dropout
from conformance.layers.transformer import state as states
from conformance.layers.transformer.inputs import (
    LAYER_ARGUMENTS,
    call_shapes,
    causal_hint,
    draws_random,
    make_inputs,
)
from conformance.layers.transformer.parts import FACTS, allows
from conformance.layers.transformer.propagation import transformer_propagation
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
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid import transformer as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.transformer import layers as cases

if TYPE_CHECKING:
    import numpy as np

    from conformance.spec.draws import Draws
    from conformance.spec.trial_protocol import TrialLike

_SIZES = {"d_model": 128, "nhead": 4, "dim_feedforward": 256, "batch_first": True}
DECODER_INPUTS = (
    *("tgt", "memory", "tgt_mask", "memory_mask"),
    *("tgt_key_padding_mask", "memory_key_padding_mask"),
)
_LAYER_FORM = Form(module=True, module_arguments=("d_model", "nhead", "batch_first"))


def _simplest_layer(name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The simplest layer of a class, as an argument of its stack."""
    return name, (("d_model", 1), ("nhead", 1))


_COUNT = Argument("num_layers", simplest=1)
_NORM = Argument("norm", None, form=Form(module=True))


def _flops(
    attentions: tuple[int, ...],
    workload: Workload,
    weights: Sequence[Shape],
    outputs: Sequence[Shape],
) -> int:
    """Operations of each attention (projections, scores, weighted sums) and both linear layers.

    Args:
        attentions: number of attentions per layer, for each stack.
    """
    width, length = outputs[0][-1], outputs[0][1]
    rows, inner = math.prod(outputs[0][:-1]), layer_arguments(workload.arguments)["dim_feedforward"]
    layers = workload.arguments.get("num_layers", 1)
    total = 0
    for count in attentions:
        attention_flops = count * (4 * rows * width * width + 2 * rows * length * width)
        total += layers * (attention_flops + 2 * rows * width * inner)
    return 2 * total


def _signature(
    stack_inputs: tuple[Input, ...], arguments: tuple[Argument, ...], *, placed: bool = False
) -> Signature:
    # A stack takes no device or dtype: its parts are constructed with them.
    return Signature(
        arguments,
        stack_inputs,
        (Output("output"),),
        supports_complex=False,
        takes_device_and_dtype=placed,
    )


def _benchmark(
    name: str, text: str, arguments: Mapping[str, Any], attentions: tuple[int, ...]
) -> Benchmark:
    """A benchmark of one call.

    Args:
        attentions: number of attentions per layer, for each stack; the largest is also the number
            of sequences.
    """
    sequences = ((1, 16, 128),) * max(attentions)
    return Benchmark(
        workloads=(Workload(name, f"{text}, 16 tokens of 128", arguments, sequences, small=True),),
        filling=Filling(scale=lambda name, arguments: 1 / 128, contraction=False),
        flops=partial(_flops, attentions),
    )


def _layer_spec(
    name: str,
    signature: Signature,
    oracle: Oracle,
    make_cases: Callable[..., Any],
    examples: float,
    state: State,
    draws: Callable[[TrialLike, np.random.Generator], Draws],
    benchmark: Benchmark,
) -> LayerSpec:
    """The parts that all stacks share."""
    sizes, valid = call_shapes(signature), partial(make_cases, name)
    breaks = invalid.stack_breaks(name, signature, sizes)
    return LayerSpec(
        name,
        "transformer",
        signature=signature,
        shapes=sizes,
        oracle=oracle,
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, breaks),
            examples_fraction=examples,
            max_planned_size=0,
        ),
        variation=Variation(allows=allows),
        state=state,
        conditions=Conditions(derived_facts=FACTS),
        laws=laws.of_stack(name),
        randomness=Randomness(is_used=draws_random, draws=draws),
        traits=Traits(has_sublayers=True),
        benchmark=benchmark,
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Encoder, decoder, and the Transformer of both."""
    name = "TransformerEncoder"
    layer_name, timed_layer = f"{name}Layer", (f"{name}Layer", tuple(_SIZES.items()))
    yield _layer_spec(
        name,
        _signature(
            make_inputs("src", "mask", "src_key_padding_mask"),
            (
                Argument(
                    "encoder_layer",
                    simplest=_simplest_layer(layer_name),
                    attribute="layers.0",
                    form=_LAYER_FORM,
                ),
                _COUNT,
                _NORM,
                Argument("enable_nested_tensor", True, alternative=False),
                Argument("mask_check", True, alternative=False),
                causal_hint("is_causal", None),
            ),
        ),
        Oracle(
            oracle.transformer_encoder,
            formula=("x = encoder_layer(x) for each layer; then norm(x)",),
            propagation=transformer_propagation,
        ),
        cases.encoders,
        0.2,
        State(states.encoder_tensors),
        layer_draws,
        _benchmark(name, "2 layers", {"encoder_layer": timed_layer, "num_layers": 2}, (1,)),
    )
    name = "TransformerDecoder"
    layer_name, timed_layer = f"{name}Layer", (f"{name}Layer", tuple(_SIZES.items()))
    yield _layer_spec(
        name,
        _signature(
            make_inputs(*DECODER_INPUTS),
            (
                Argument(
                    "decoder_layer",
                    simplest=_simplest_layer(layer_name),
                    attribute="layers.0",
                    form=_LAYER_FORM,
                ),
                _COUNT,
                _NORM,
                causal_hint("tgt_is_causal", None),
                causal_hint("memory_is_causal"),
            ),
        ),
        Oracle(
            oracle.transformer_decoder,
            formula=("x = decoder_layer(x, memory) for each layer; then norm(x)",),
            propagation=transformer_propagation,
        ),
        cases.decoders,
        0.2,
        State(states.decoder_tensors),
        layer_draws,
        _benchmark(name, "2 layers", {"decoder_layer": timed_layer, "num_layers": 2}, (2,)),
    )
    name = "Transformer"
    counts = {"num_encoder_layers": 1, "num_decoder_layers": 1}
    yield _layer_spec(
        name,
        _signature(
            make_inputs(
                *("src", "tgt", "src_mask", "tgt_mask", "memory_mask"),
                *("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask"),
            ),
            (
                Argument("d_model", 512, simplest=1, size=True, large_default=True),
                Argument("nhead", 8, simplest=1, large_default=True),
                Argument(
                    "num_encoder_layers",
                    6,
                    simplest=1,
                    large_default=True,
                    attribute="encoder.num_layers",
                ),
                Argument(
                    "num_decoder_layers",
                    6,
                    simplest=1,
                    large_default=True,
                    attribute="decoder.num_layers",
                ),
                *(
                    replace(a, attribute=f"encoder.layers.0.{a.attribute or a.name}")
                    for a in LAYER_ARGUMENTS[2:]
                ),
                causal_hint("src_is_causal", None),
                causal_hint("tgt_is_causal", None),
                causal_hint("memory_is_causal"),
            ),
            placed=True,
        ),
        Oracle(
            oracle.transformer,
            formula=("decoder(tgt, encoder(src)), each a stack of layers and a norm",),
            propagation=transformer_propagation,
        ),
        cases.transformers,
        0.25,
        State(states.transformer_tensors),
        without_dropout,
        _benchmark(name, "1 layer each", {**_SIZES, **counts}, (1, 2)),
    )
