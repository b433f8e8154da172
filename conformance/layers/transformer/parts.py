"""Facts and constraints that the layers of a transformer share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.transformer.calls import MASKS, is_batch_first, is_batched, layer_arguments
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec


def input_names(case: Case) -> tuple[str, ...]:
    """Names of the inputs of the case's layer."""
    # Imported here: the catalogue imports this module.
    from conformance.layers import CATALOGUE

    return CATALOGUE[case.call.layer].signature.input_names


def inputs_by_name(case: Case) -> dict[str, np.ndarray | None]:
    """The inputs by name, None where one is left out."""
    names = input_names(case)
    return {**dict.fromkeys(names), **dict(zip(names, case.inputs, strict=False))}


def is_fused(facts: Any) -> bool:
    """Whether torch runs an encoder layer as one fused kernel, its documented fast path."""
    eval_mode = not facts.case.call.training
    return eval_mode and is_fusible(facts) and is_batched(facts.case) and is_batch_first(facts.case)


def is_fusible(facts: Any) -> bool:
    """Whether the layer's arguments allow the fused kernel, which also needs a leading batch."""
    kind = layer_arguments(facts.case.call.arguments)
    relu_or_gelu = kind.get("activation", "relu").rpartition(".")[2] in ("relu", "gelu")
    return bool(kind.get("bias", True)) and relu_or_gelu and kind["nhead"] % 2 == 0


def has_additive_mask(facts: Any) -> bool:
    """Whether a mask of the source adds numbers other than 0 and −∞."""
    mask_names = ("mask", "src_mask", "src_key_padding_mask")
    masks = (
        x for name, x in inputs_by_name(facts.case).items() if name in mask_names and x is not None
    )
    return any(x.dtype != bool and bool((np.isfinite(x) & (x != 0)).any()) for x in masks)


def has_mask_per_head(facts: Any) -> bool:
    """Whether a mask differs by head, or is a padding mask, which torch expands to the heads."""
    masks = {
        name: x for name, x in inputs_by_name(facts.case).items() if name in MASKS and x is not None
    }
    return any("padding" in name or x.ndim == 3 for name, x in masks.items())


FACTS: Mapping[str, Callable[[Any], bool]] = {
    "fused": is_fused,
    "fusible": is_fusible,
    "adding": has_additive_mask,
    "headed": has_mask_per_head,
}
"""Facts that conditions of known failures can use, by name."""


def allows(spec: LayerSpec, case: Case) -> bool:
    """Whether a final norm has the width d_model, and each causal hint has its mask."""
    arguments, inputs = case.call.arguments, inputs_by_name(case)
    norm = arguments.get("norm")
    if (
        norm is not None
        and dict(norm[1])["normalized_shape"] != layer_arguments(arguments)["d_model"]
    ):
        return False
    hints = {"is_causal": "src_mask", "src_is_causal": "src_mask"}
    hints |= {"tgt_is_causal": "tgt_mask", "memory_is_causal": "memory_mask"}
    return all(
        inputs.get(name, inputs.get("mask")) is not None
        for hint, name in hints.items()
        if case.keywords.get(hint)
    )
