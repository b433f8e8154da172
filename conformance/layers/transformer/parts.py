"""What the rows of a transformer have in common: facts, and which calls are valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.transformer.calls import MASKS, batched, first, kind_of
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec


def names_of(case: Case) -> tuple[str, ...]:
    """Names of the inputs of its layer."""
    # Loaded here: the catalogue is made of the rows that ask.
    from conformance.layers import CATALOGUE

    return CATALOGUE[case.call.layer].signature.input_names


def named(case: Case) -> dict[str, np.ndarray | None]:
    """The inputs by name; None for those left out at the end, too."""
    names = names_of(case)
    return {**dict.fromkeys(names), **dict(zip(names, case.inputs, strict=False))}


def fused(facts: Any) -> bool:
    """Whether torch has one kernel for a layer of an encoder: its documented fast path."""
    eval_mode = not facts.case.call.training
    return eval_mode and fusible(facts) and batched(facts.case) and first(facts.case)


def fusible(facts: Any) -> bool:
    """Whether it has one where the batch leads."""
    kind = kind_of(facts.case.call.arguments)
    relu_or_gelu = kind.get("activation", "relu").rpartition(".")[2] in ("relu", "gelu")
    return bool(kind.get("bias", True)) and relu_or_gelu and kind["nhead"] % 2 == 0


def adding(facts: Any) -> bool:
    """Whether a mask of a source has numbers to add, and not 0 and −∞ alone."""
    own = ("mask", "src_mask", "src_key_padding_mask")
    given = (x for name, x in named(facts.case).items() if name in own and x is not None)
    return any(x.dtype != bool and bool((np.isfinite(x) & (x != 0)).any()) for x in given)


def headed(facts: Any) -> bool:
    """Whether a mask is one for each head, or one of keys, which is spread over the heads."""
    given = {name: x for name, x in named(facts.case).items() if name in MASKS and x is not None}
    return any("padding" in name or x.ndim == 3 for name, x in given.items())


FACTS: Mapping[str, Callable[[Any], bool]] = {
    "fused": fused,
    "fusible": fusible,
    "adding": adding,
    "headed": headed,
}
"""What conditions of known failures can name."""


def allows(row: LayerSpec, case: Case) -> bool:
    """Whether a norm is as wide as its rows, and each hint has the mask of which it speaks."""
    arguments, given = case.call.arguments, named(case)
    norm = arguments.get("norm")
    if norm is not None and dict(norm[1])["normalized_shape"] != kind_of(arguments)["d_model"]:
        return False
    hints = {"is_causal": "src_mask", "src_is_causal": "src_mask"}
    hints |= {"tgt_is_causal": "tgt_mask", "memory_is_causal": "memory_mask"}
    return all(
        given.get(name, given.get("mask")) is not None
        for hint, name in hints.items()
        if case.keywords.get(hint)
    )
