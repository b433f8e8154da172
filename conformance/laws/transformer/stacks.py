"""Laws of stacks of a transformer's layers: a stack equals its layers, called one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.laws.transformer.calls import inputs_by_name, is_batch_first
from conformance.laws.transformer.layers import SHARED, Operands, residual
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Law,
    Side,
    law,
    outputs_with_bounds,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Array = np.ndarray


def _substate(state: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


def _call_part(
    trial: Trial,
    layer: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Array],
    inputs: Sequence[Array | None],
    **keywords: Any,
) -> Array:
    """The backend's output for a part of the stack."""
    call = replace(
        trial.case.call, layer=layer, arguments=dict(arguments), state=dict(state), layouts={}
    )
    case = replace(
        trial.case, call=call, inputs=tuple(inputs), layouts=(), cotangent_layouts=(),
        keywords=keywords,
    )  # fmt: skip
    return np.asarray(trial.trial_of(case).answer[0])


def _claim_stack(trial: Trial, output: Array, text: str) -> Claim:
    """The claim that the parts' output equals the stack's, within the stack's bound."""
    return Claim(trial.names, Side(text, with_bounds_of([output], trial.expected)), Side(
        trial.text(), outputs_with_bounds(trial), trial))  # fmt: skip


@law("layers", "a stack is its layers in turn, and its norm")
def layers(trial: Trial, generator: Generator) -> Claims:
    """Each layer, and the norm, in a call of its own."""
    if Operands.of(trial) is None:
        return
    call, (x, *others) = trial.case.call, trial.case.inputs
    name = "encoder_layer" if "encoder_layer" in call.arguments else "decoder_layer"
    layer, pairs = call.arguments[name]
    # A stack's hint may be None, a layer's may not.
    hints = {k: bool(v) for k, v in trial.case.keywords.items()}
    for index in range(call.arguments["num_layers"]):
        state = _substate(call.state, f"layers.{index}.")
        x = _call_part(trial, layer, dict(pairs), state, (x, *others), **hints)
    norm = call.arguments.get("norm")
    if norm is not None:
        x = _call_part(trial, norm[0], dict(norm[1]), _substate(call.state, "norm."), (x,))
    assert x is not None
    yield _claim_stack(trial, x, f"{layer} in turn")


@law("nested", "enable_nested_tensor changes nothing where nothing is padded")
def nested(trial: Trial, generator: Generator) -> Claims:
    """The call without nested tensors; compares rows that are not padded."""
    (expected_output,), padding = trial.expected, inputs_by_name(trial)["src_key_padding_mask"]
    if not isinstance(expected_output, Choices) or padding is None:
        return
    call = trial.case.call
    arguments = {**call.arguments, "enable_nested_tensor": False}
    other = trial.trial_of(replace(trial.case, call=replace(call, arguments=arguments)))
    is_padded = padding if padding.dtype == bool else padding != 0
    is_kept = ~(is_padded if is_batch_first(trial.case) or is_padded.ndim == 1 else is_padded.T)
    (plain_output,) = other.expected
    if not is_kept.any() or isinstance(plain_output, Choices):
        return
    error = plain_output.error[is_kept]
    sides = [Rounded(x.answer[0][is_kept], error, trial.precision) for x in (trial, other)]
    wanted = Side(other.text(), (sides[1],), other)
    yield Claim(trial.names, Side(trial.text(), (sides[0],)), wanted)


@law("both", "a transformer is the decoder of what its encoder makes")
def encoder_and_decoder(trial: Trial, generator: Generator) -> Claims:
    """Encoder and decoder, each in a call of its own."""
    if Operands.of(trial) is None:
        return
    call, inputs, hints = trial.case.call, inputs_by_name(trial), trial.case.keywords
    counts = {f"num_{name}_layers": call.arguments.get(f"num_{name}_layers", 6)
              for name in ("encoder", "decoder")}  # fmt: skip
    layer_pairs = {k: v for k, v in call.arguments.items() if k not in counts}
    eps, bias = layer_pairs.get("layer_norm_eps", 1e-5), layer_pairs.get("bias", True)
    pairs = (("normalized_shape", layer_pairs["d_model"]), ("eps", eps), ("bias", bias))

    def arguments(name: str) -> dict[str, Any]:
        layer = f"Transformer{name.capitalize()}Layer"
        count = counts[f"num_{name}_layers"]
        return {
            f"{name}_layer": (layer, tuple(layer_pairs.items())),
            "num_layers": count,
            "norm": ("LayerNorm", pairs),
        }

    encoding = {"is_causal": hints["src_is_causal"]} if "src_is_causal" in hints else {}
    memory = _call_part(
        trial, "TransformerEncoder", arguments("encoder"), _substate(call.state, "encoder."),
        (inputs["src"], inputs["src_mask"], inputs["src_key_padding_mask"]), **encoding,
    )  # fmt: skip
    masks = ("tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
    output = _call_part(
        trial, "TransformerDecoder", arguments("decoder"), _substate(call.state, "decoder."),
        (inputs["tgt"], memory, *(inputs[name] for name in masks)),
        **{k: v for k, v in hints.items() if k != "src_is_causal"},
    )  # fmt: skip
    yield _claim_stack(trial, output, "TransformerDecoder of TransformerEncoder")


def of_stack(name: str) -> tuple[Law, ...]:
    """The laws of a stack, or of the whole transformer, by the layer's name."""
    if "coder" not in name:
        # In a whole transformer a norm of the stack follows the residual.
        return (*(x for x in SHARED if x is not residual), encoder_and_decoder)
    return (*SHARED, layers, nested) if "Encoder" in name else (*SHARED, layers)
