"""Ways to break a valid call of a transformer's layers.

torch refuses most of them by an assertion, not by an error written for the purpose: these are
customary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    DOCUMENTED,
    Break,
    argument,
    negative,
    not_positive,
    with_arguments,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

more = st.sampled_from((1, 2, 3))
words = st.sampled_from(("tanh", "Relu", "swish", ""))


def _shape(case: Case, place: int = 0) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _filled(case: Case) -> bool:
    return all(x is None or x.size > 0 for x in case.inputs)


def _axes(case: Case) -> tuple[int, int]:
    """The axis of the batch, -1 without one, and the axis of the positions."""
    if len(_shape(case)) == 2:
        return -1, 0
    return (0, 1) if _kind(case).get("batch_first", False) else (1, 0)


def _kind(case: Case) -> dict[str, Any]:
    """The arguments of the layer, or of the layer that a stack repeats."""
    for name in ("encoder_layer", "decoder_layer"):
        if name in case.call.arguments:
            return dict(case.call.arguments[name][1])
    return dict(case.call.arguments)


def _lengths(case: Case, keys: int, queries: int = 0) -> tuple[int | None, int, int]:
    batch, position = _axes(case)
    count = None if batch < 0 else _shape(case)[batch]
    return count, _shape(case, queries)[position], _shape(case, keys)[position]


def _masked(case: Case, place: int, mask: np.ndarray) -> Case:
    """The case with one mask and no other."""
    sequences = 1 if "Encoder" in case.call.layer else 2
    inputs = [x if k < sequences else None for k, x in enumerate(case.inputs)]
    inputs[place] = mask
    return replace(case, inputs=tuple(inputs), keywords={})


def _count(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        batch, rows, columns = _lengths(case, *lengths)
        count = (batch or 1) * _kind(case)["nhead"] + draw(more)
        return _masked(case, place, np.zeros((count, rows, columns), bool))

    return apply


def _padding(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        batch, _, columns = _lengths(case, *lengths)
        return _masked(
            case, place, np.zeros((columns,) if batch is None else (batch, columns), int)
        )

    return apply


def _integers(place: int, lengths: tuple[int, int]) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        _, rows, columns = _lengths(case, *lengths)
        return _masked(case, place, np.zeros((rows, columns), int))

    return apply


def _indivisible(draw: Draw, case: Case) -> Case:
    return with_arguments(case, nhead=case.call.arguments["d_model"] + draw(more))


_ARGUMENTS = (
    Break("nhead negative", "nhead", argument("nhead", negative), CUSTOMARY),
    Break("nhead zero", "nhead", argument("nhead", st.just(0)), CUSTOMARY),
    Break("d_model not positive", "d_model", argument("d_model", not_positive), CUSTOMARY),
    Break("d_model that nhead does not divide", "nhead", _indivisible, CUSTOMARY),
    Break(
        "dim_feedforward negative",
        "dim_feedforward",
        argument("dim_feedforward", negative),
        CUSTOMARY,
    ),
    Break("activation unknown", "activation", argument("activation", words), DOCUMENTED),
    Break(
        "dropout no probability",
        "dropout",
        argument("dropout", st.sampled_from((-0.1, 1.5, 2.0))),
        CUSTOMARY,
    ),
)


def _of_masks(
    mask: str, place: int, padding: str, other: int, keys: int, queries: int = 0
) -> tuple[Break, ...]:
    """The breaks of a mask and a padding mask.

    Args:
        mask, padding: names of the two inputs.
        place, other: positions of the two inputs.
        keys, queries: positions of the sequences that they mask.
    """
    both = (keys, queries)
    return (
        Break(f"{mask} of another number", mask, _count(place, both), CUSTOMARY, _filled),
        Break(f"{mask} of whole numbers", mask, _integers(place, both), CUSTOMARY, _filled),
        Break(f"{padding} of whole numbers", padding, _padding(other, both), CUSTOMARY, _filled),
    )


_ENCODER = _of_masks("src_mask", 1, "src_key_padding_mask", 2, 0)
_STACK = _of_masks("mask", 1, "src_key_padding_mask", 2, 0)
_DECODER = (
    *_of_masks("tgt_mask", 2, "tgt_key_padding_mask", 4, 0),
    *_of_masks("memory_mask", 3, "memory_key_padding_mask", 5, 1),
)
_BOTH = _of_masks("memory_mask", 4, "memory_key_padding_mask", 7, 0, 1)


def _shaped(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks from the shapes. Documented are dtypes, and the common batch of both stacks."""
    names = {b.name for b in shape_breaks(signature, shapes)}
    without = {x for x in names if x.endswith((" missing", "nhead)"))}
    documented = {x for x in names if x.endswith(" dtype")}
    documented |= {"tgt of another batch"} & names
    customary = names - without - documented
    return shape_breaks(signature, shapes, without=without, customary=customary)


def layer_breaks(name: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a layer."""
    masks = _DECODER if "Decoder" in name else _ENCODER
    return (*_ARGUMENTS, *_shaped(signature, shapes), *masks)


def stack_breaks(name: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a stack, or of the Transformer, which has both stacks."""
    count = "num_layers" if "coder" in name else "num_encoder_layers"
    several = Break(f"{count} not positive", count, argument(count, not_positive), CUSTOMARY)
    masks = _BOTH if "coder" not in name else _DECODER if "Decoder" in name else _STACK
    own = () if "coder" in name else _ARGUMENTS
    return (*own, several, *_shaped(signature, shapes), *masks)
