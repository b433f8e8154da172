"""TransformerEncoder, TransformerDecoder, Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.laws.transformer import stacks as laws
from conformance.laws.transformer.calls import kind_of
from conformance.laws.transformer.draws import layer_draws, without
from conformance.layers.transformer import state as states
from conformance.layers.transformer.inputs import KIND, drops, hint, padding, pairs, sequence
from conformance.layers.transformer.parts import FACTS, lengths, refit, sequence_axis
from conformance.layers.transformer.propagation import transformer
from conformance.oracles import transformer as oracle
from conformance.spec.layer_spec import (
    Argument,
    Benchmark,
    Conditions,
    Form,
    Generation,
    Input,
    LayerSpec,
    Oracle,
    Output,
    Randomness,
    Signature,
    State,
    Variation,
)
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid import transformer as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.transformer import layers as cases

if TYPE_CHECKING:
    import numpy as np

    from conformance.spec.draws import Draws
    from conformance.spec.trial_like import TrialLike

_SIZES = {"d_model": 128, "nhead": 4, "dim_feedforward": 256, "batch_first": True}
_DECODER_INPUTS = (
    *map(sequence, ("tgt", "memory")),
    *map(pairs, ("tgt_mask", "memory_mask")),
    *map(padding, ("tgt_key_padding_mask", "memory_key_padding_mask")),
)


def _plain(name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The plainest layer of a class."""
    return name, (("d_model", 1), ("nhead", 1))


_COUNT = Argument("num_layers", plain=1)
_NORM = Argument("norm", None, form=Form(module=True))


def _flops(
    attentions: tuple[int, ...],
    workload: Workload,
    weights: Sequence[Shape],
    outputs: Sequence[Shape],
) -> int:
    """Projections in and out of each attention, scores and what they weigh; both linear layers.

    Args:
        attentions: of each stack, how many a layer has.
        workload: the call.
        weights, outputs: shapes.
    """
    width, length = outputs[0][-1], outputs[0][1]
    rows, inner = math.prod(outputs[0][:-1]), kind_of(workload.arguments)["dim_feedforward"]
    layers = workload.arguments.get("num_layers", 1)
    total = 0
    for count in attentions:
        each = count * (4 * rows * width * width + 2 * rows * length * width)
        total += layers * (each + 2 * rows * width * inner)
    return 2 * total


def _row(
    name: str,
    prefix: str,
    inputs: tuple[Input, ...],
    *,
    arguments: tuple[Argument, ...],
    values: Callable[..., Any],
    shapes: Callable[..., tuple[Shape | None, ...]],
    formula: tuple[str, ...],
    state: Callable[[Mapping[str, Any], Shape], tuple[StateTensor, ...]],
    draws: Callable[[TrialLike, np.random.Generator], Draws],
    workloads: tuple[Workload, ...],
    flops: Callable[[Workload, Sequence[Shape], Sequence[Shape]], int],
    examples: float,
) -> LayerSpec:
    valid = partial(getattr(cases, f"{prefix}s"), name)
    return LayerSpec(
        name,
        "transformer",
        signature=Signature(
            arguments,
            inputs,
            (Output("output", sequence_axis),),
            complex=False,
            # Parts of a stack are made where they are needed; a stack as such takes no place.
            placed=prefix == "transformer",
        ),
        oracle=Oracle(values=values, shapes=shapes, formula=formula, propagation=transformer),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, invalid.stack_breaks(name)), examples=examples
        ),
        variation=Variation(refit=refit, free=lengths),
        state=State(state),
        conditions=Conditions(derived=FACTS),
        laws=laws.of_stack(name),
        randomness=Randomness(used=drops, draws=draws),
        benchmark=Benchmark(
            workloads=workloads,
            filling=Filling(scale=lambda name, arguments: 1 / 128, contraction=False),
            flops=flops,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    shape = (1, 16, 128)
    module = ("TransformerEncoderLayer", tuple(_SIZES.items()))
    yield _row(
        "TransformerEncoder",
        "encoder",
        (sequence("src"), pairs("mask"), padding("src_key_padding_mask")),
        arguments=(
            Argument(
                "encoder_layer", plain=_plain("TransformerEncoderLayer"), form=Form(module=True)
            ),
            _COUNT,
            _NORM,
            Argument("enable_nested_tensor", True, other=False),
            Argument("mask_check", True, other=False),
            hint("is_causal", None),
        ),
        values=oracle.transformer_encoder,
        shapes=oracle.encoder_layer_shape,
        formula=("x = encoder_layer(x) for each layer; then norm(x)",),
        state=states.encoder,
        draws=layer_draws,
        workloads=(
            Workload(
                "TransformerEncoder",
                "2 layers, 16 tokens of 128",
                {"encoder_layer": module, "num_layers": 2},
                (shape,),
                small=True,
            ),
        ),
        flops=partial(_flops, (1,)),
        examples=0.2,
    )
    module = ("TransformerDecoderLayer", tuple(_SIZES.items()))
    yield _row(
        "TransformerDecoder",
        "decoder",
        _DECODER_INPUTS,
        arguments=(
            Argument(
                "decoder_layer", plain=_plain("TransformerDecoderLayer"), form=Form(module=True)
            ),
            _COUNT,
            _NORM,
            hint("tgt_is_causal", None),
            hint("memory_is_causal"),
        ),
        values=oracle.transformer_decoder,
        shapes=oracle.decoder_layer_shape,
        formula=("x = decoder_layer(x, memory) for each layer; then norm(x)",),
        state=states.decoder,
        draws=layer_draws,
        workloads=(
            Workload(
                "TransformerDecoder",
                "2 layers, 16 tokens of 128",
                {"decoder_layer": module, "num_layers": 2},
                (shape, shape),
                small=True,
            ),
        ),
        flops=partial(_flops, (2,)),
        examples=0.2,
    )
    yield _row(
        "Transformer",
        "transformer",
        (
            *map(sequence, ("src", "tgt")),
            *map(pairs, ("src_mask", "tgt_mask", "memory_mask")),
            *map(padding, ("src_key_padding_mask", "tgt_key_padding_mask")),
            padding("memory_key_padding_mask"),
        ),
        arguments=(
            Argument("d_model", 512, plain=1, size=True, large=True),
            Argument("nhead", 8, plain=1, large=True),
            Argument("num_encoder_layers", 6, plain=1, large=True),
            Argument("num_decoder_layers", 6, plain=1, large=True),
            *KIND[2:],
            hint("src_is_causal", None),
            hint("tgt_is_causal", None),
            hint("memory_is_causal"),
        ),
        values=oracle.transformer,
        shapes=oracle.transformer_shape,
        formula=("decoder(tgt, encoder(src)), each a stack of layers and a norm",),
        state=states.both,
        draws=without,
        workloads=(
            Workload(
                "Transformer",
                "1 layer each, 16 tokens of 128",
                {**_SIZES, "num_encoder_layers": 1, "num_decoder_layers": 1},
                (shape, shape),
                small=True,
            ),
        ),
        flops=partial(_flops, (1, 2)),
        examples=0.25,
    )
