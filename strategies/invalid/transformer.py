"""Ways to break a valid call of a transformer's layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    not_positive,
    replace_arguments,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

surpluses = st.sampled_from((1, 2, 3))
unknown_activations = st.sampled_from(("tanh", "Relu", "swish", ""))


def _shape(case: Case, place: int = 0) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _has_elements(case: Case) -> bool:
    return all(x is None or x.size > 0 for x in case.inputs)


def _batch_and_position_axes(case: Case) -> tuple[int, int]:
    """The axis of the batch, -1 without one, and the axis of the positions."""
    if len(_shape(case)) == 2:
        return -1, 0
    return (0, 1) if _layer_arguments(case).get("batch_first", False) else (1, 0)


def _layer_arguments(case: Case) -> dict[str, Any]:
    """The arguments of the layer, or of the layer that a stack repeats."""
    for name in ("encoder_layer", "decoder_layer"):
        if name in case.call.arguments:
            return dict(case.call.arguments[name][1])
    return dict(case.call.arguments)


def _lengths(case: Case, keys: int, queries: int = 0) -> tuple[int | None, int, int]:
    batch, position = _batch_and_position_axes(case)
    count = None if batch < 0 else _shape(case)[batch]
    return count, _shape(case, queries)[position], _shape(case, keys)[position]


def _set_only_mask(case: Case, place: int, mask: np.ndarray) -> Case:
    """The case with one mask and no other."""
    sequences = 1 if "Encoder" in case.call.layer else 2
    inputs = [x if k < sequences else None for k, x in enumerate(case.inputs)]
    inputs[place] = mask
    return replace(case, inputs=tuple(inputs), keywords={})


def _wrong_mask_count(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        batch, rows, columns = _lengths(case, *lengths)
        count = (batch or 1) * _layer_arguments(case)["nhead"] + draw(surpluses)
        return _set_only_mask(case, place, np.zeros((count, rows, columns), bool))

    return apply


def _integer_padding(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        batch, _, columns = _lengths(case, *lengths)
        return _set_only_mask(
            case, place, np.zeros((columns,) if batch is None else (batch, columns), int)
        )

    return apply


def _integer_mask(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        _, rows, columns = _lengths(case, *lengths)
        return _set_only_mask(case, place, np.zeros((rows, columns), int))

    return apply


def _indivisible(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, nhead=case.call.arguments["d_model"] + draw(surpluses))


_ARGUMENTS = (
    Break("nhead negative", "nhead", set_argument("nhead", negative)),
    Break("nhead zero", "nhead", set_argument("nhead", st.just(0))),
    Break("d_model not positive", "d_model", set_argument("d_model", not_positive)),
    Break("d_model that nhead does not divide", "nhead", _indivisible),
    Break(
        "dim_feedforward negative",
        "dim_feedforward",
        set_argument("dim_feedforward", negative),
    ),
    Break(
        "activation unknown",
        "activation",
        set_argument("activation", unknown_activations),
    ),
    Break(
        "dropout no probability",
        "dropout",
        set_argument("dropout", st.sampled_from((-0.1, 1.5, 2.0))),
    ),
)


def _mask_breaks(
    mask: str, place: int, padding: str, padding_place: int, keys: int, queries: int = 0
) -> tuple[Break, ...]:
    """The breaks of a mask and a padding mask.

    Args:
        mask, padding: names of the two inputs.
        place, padding_place: positions of the two inputs.
        keys, queries: positions of the sequences that they mask.
    """
    sequences = (keys, queries)
    return (
        Break(
            f"{mask} of another number",
            mask,
            _wrong_mask_count(place, sequences),
            applies=_has_elements,
        ),
        Break(
            f"{mask} of whole numbers",
            mask,
            _integer_mask(place, sequences),
            applies=_has_elements,
        ),
        Break(
            f"{padding} of whole numbers",
            padding,
            _integer_padding(padding_place, sequences),
            applies=_has_elements,
        ),
    )


_ENCODER = _mask_breaks("src_mask", 1, "src_key_padding_mask", 2, 0)
_STACK = _mask_breaks("mask", 1, "src_key_padding_mask", 2, 0)
_DECODER = (
    *_mask_breaks("tgt_mask", 2, "tgt_key_padding_mask", 4, 0),
    *_mask_breaks("memory_mask", 3, "memory_key_padding_mask", 5, 1),
)
_TRANSFORMER = _mask_breaks("memory_mask", 4, "memory_key_padding_mask", 7, 0, 1)


def _from_shapes(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks from the shapes, without heads and tensors that may be missing."""
    names = {b.name for b in shape_breaks(signature, shapes)}
    excluded = {x for x in names if x.endswith((" missing", "nhead)"))}
    return shape_breaks(signature, shapes, excluded=excluded)


def layer_breaks(name: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """Wrong arguments, shapes and masks of an encoder's or decoder's layer."""
    masks = _DECODER if "Decoder" in name else _ENCODER
    return (*_ARGUMENTS, *_from_shapes(signature, shapes), *masks)


def stack_breaks(name: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a stack, or of the Transformer, which has both stacks."""
    count = "num_layers" if "coder" in name else "num_encoder_layers"
    layer_count = Break(f"{count} not positive", count, set_argument(count, not_positive))
    masks = _TRANSFORMER if "coder" not in name else _DECODER if "Decoder" in name else _STACK
    layer_arguments = () if "coder" in name else _ARGUMENTS
    return (*layer_arguments, layer_count, *_from_shapes(signature, shapes), *masks)
