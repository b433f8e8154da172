"""What the rows of a transformer have in common: axes, and cases fitted to other arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.transformer.calls import MASKS, batched, first, kind_of, sides
from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.sizes import resized

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec


def sequence_axis(case: Case) -> int | None:
    """The axis of a sequence, and of the output, that counts the batch."""
    return (0 if first(case) else 1) if batched(case) else None


def mask_axis(name: str, case: Case) -> int | None:
    """Of a mask for each head of each element: the axis that counts them."""
    x = named(case).get(name)
    return 0 if batched(case) and x is not None and x.ndim == 3 else None


def padding_axis(name: str, case: Case) -> int | None:
    """Of a padding mask."""
    return 0 if batched(case) else None


def names_of(case: Case) -> tuple[str, ...]:
    """Names of the inputs of its layer."""
    # Loaded here: the catalogue is made of the rows that ask.
    from conformance.layers import CATALOGUE

    return CATALOGUE[case.call.layer].signature.input_names


def named(case: Case) -> dict[str, np.ndarray | None]:
    """The inputs by name; None for those left out at the end, too."""
    names = names_of(case)
    return {**dict.fromkeys(names), **dict(zip(names, case.inputs, strict=False))}


def lengths(case: Case) -> tuple[Axes, ...]:
    """The axes of each sequence, and of the masks that go with it."""
    given, names = named(case), names_of(case)
    time = 1 if batched(case) and first(case) else 0
    found: dict[str, list[tuple[int, int]]] = {
        name: [(place, time)] for place, name in enumerate(names) if name not in MASKS
    }
    for place, name in enumerate(names):
        mask = given[name]
        if name in MASKS and mask is not None:
            query, key = sides(name, given)
            found[key].append((place, mask.ndim - 1))
            if query:
                found[query].append((place, mask.ndim - 2))
    return tuple(map(tuple, found.values()))


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


def refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with its arrays as wide as other arguments ask for."""
    kind, before = kind_of(arguments), kind_of(case.call.arguments)
    if kind["d_model"] % kind["nhead"]:
        return None
    given, norm = named(case), arguments.get("norm")
    if norm is not None and dict(norm[1])["normalized_shape"] != kind["d_model"]:
        return None
    heads = kind["nhead"] != before["nhead"]
    if heads and any(x is not None and x.ndim == 3 for n, x in given.items() if n in MASKS):
        return None
    hints = {"is_causal": "src_mask", "src_is_causal": "src_mask"}
    hints |= {"tgt_is_causal": "tgt_mask", "memory_is_causal": "memory_mask"}
    for hint, name in hints.items():
        if case.keywords.get(hint) and given.get(name, given.get("mask")) is None:
            return None
    turned = kind.get("batch_first", False) != before.get("batch_first", False)
    inputs: list[np.ndarray | None] = []
    for name, x in zip(row.signature.input_names, case.inputs, strict=False):
        if x is not None and name not in MASKS:
            x = resized(x, (*x.shape[:-1], kind["d_model"]))
            x = x.swapaxes(0, 1).copy() if turned and x.ndim == 3 else x
        if x is not None and name in MASKS and x.ndim == 3:
            # A mask for each head of each element.
            batch = given[row.signature.input_names[0]]
            assert batch is not None
            axis = 0 if before.get("batch_first", False) else 1
            samples = batch.shape[axis] if batch.ndim == 3 else 1
            if len(x) != samples * kind["nhead"]:
                return None
        inputs.append(x)
    state = case.call.state
    wanted = row.state_shapes(arguments, (kind["d_model"],))
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    arrays = {k: resized(state.get(k, source), s) for k, s in wanted.items()}
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    return replace(case, call=call, inputs=tuple(inputs))
