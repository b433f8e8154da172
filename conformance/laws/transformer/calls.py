"""The arguments of a transformer's layer, or of a stack of them, and its masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from conformance.model.case import Case
    from conformance.spec.trial_protocol import TrialLike

# Each mask, and which sequences its queries and keys are.
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


def kind_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a layer: a layer's own, or those of the layer that a stack is of."""
    for name in _LAYERS:
        if name in arguments:
            return dict(arguments[name][1])
    return dict(arguments)


def changed(
    arguments: Mapping[str, Any], kind: Mapping[str, Any], *, plain: bool = False
) -> dict[str, Any]:
    """The arguments with other ones of the layer.

    Args:
        arguments: of a layer, or of a stack.
        plain: nothing else of the layer is written, and of a stack one layer without a norm.
    """
    for name in _LAYERS:
        if name in arguments:
            module, pairs = arguments[name]
            given = {**({} if plain else dict(pairs)), **kind}
            others = {"num_layers": 1} if plain else arguments
            return {**others, name: (module, tuple(given.items()))}
    return {**({} if plain else arguments), **kind}


def first(case: Case) -> bool:
    """Whether the batch leads."""
    return bool(kind_of(case.call.arguments).get("batch_first", False))


def batched(case: Case) -> bool:
    """Whether there is a batch."""
    return case.inputs[0] is not None and case.inputs[0].ndim == 3


def named(trial: TrialLike) -> dict[str, np.ndarray | None]:
    """The inputs by name; None for those left out at the end, too."""
    names = trial.row.signature.input_names
    return {**dict.fromkeys(names), **dict(zip(names, trial.case.inputs, strict=False))}


def sides(name: str, given: Mapping[str, Any]) -> tuple[str, str]:
    """The sequences of a mask's queries, "" of a padding mask, and of its keys.

    Of both stacks together the memory is what becomes of the source.
    """
    query, key = MASKS[name]
    return query, key if key in given else "src"
