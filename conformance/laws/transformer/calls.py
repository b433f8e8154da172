"""Arguments and masks of a transformer's layers and stacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from conformance.model.case import Case
    from conformance.spec.trial_protocol import TrialLike

# Each mask with the sequences of its queries and of its keys.
MASKS = {
    "mask": ("src", "src"),
    "src_mask": ("src", "src"),
    "tgt_mask": ("tgt", "tgt"),
    "memory_mask": ("tgt", "memory"),
    "src_key_padding_mask": ("", "src"),
    "tgt_key_padding_mask": ("", "tgt"),
    "memory_key_padding_mask": ("", "memory"),
}
_LAYERS = ("encoder_layer", "decoder_layer")


def layer_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a layer: its own, or those of a stack's layer."""
    for name in _LAYERS:
        if name in arguments:
            return dict(arguments[name][1])
    return dict(arguments)


def change_layer(
    arguments: Mapping[str, Any], changes: Mapping[str, Any], *, minimal: bool = False
) -> dict[str, Any]:
    """Change arguments of the layer, in the arguments of a layer or a stack.

    Args:
        arguments: those of a layer, or of a stack.
        changes: the layer's changed arguments.
        minimal: drop the layer's other arguments; a stack becomes one layer without a norm.
    """
    for name in _LAYERS:
        if name in arguments:
            module, pairs = arguments[name]
            new_pairs = {**({} if minimal else dict(pairs)), **changes}
            others = {"num_layers": 1} if minimal else arguments
            return {**others, name: (module, tuple(new_pairs.items()))}
    return {**({} if minimal else arguments), **changes}


def is_batch_first(case: Case) -> bool:
    """Whether the batch is the first axis."""
    return bool(layer_arguments(case.call.arguments).get("batch_first", False))


def is_batched(case: Case) -> bool:
    """Whether there is a batch."""
    return case.inputs[0] is not None and case.inputs[0].ndim == 3


def inputs_by_name(trial: TrialLike) -> dict[str, np.ndarray | None]:
    """The inputs by name; None for missing ones."""
    names = trial.spec.signature.input_names
    return {**dict.fromkeys(names), **dict(zip(names, trial.case.inputs, strict=False))}


def mask_sequences(name: str, inputs: Mapping[str, Any]) -> tuple[str, str]:
    """The names of a mask's query sequence ("" for a padding mask) and key sequence.

    In a whole transformer the memory comes from the source.
    """
    query, key = MASKS[name]
    return query, key if key in inputs else "src"
