"""Arguments and inputs that the rows of a transformer have in common."""

from __future__ import annotations

from functools import partial

from conformance.laws.transformer.calls import kind_of
from conformance.layers.transformer.parts import mask_axis, padding_axis, sequence_axis
from conformance.model.case import Call
from conformance.spec.signature import Argument, Form, Input, Ties

KIND = (
    Argument("d_model", plain=1, size=True),
    Argument("nhead", plain=1),
    Argument("dim_feedforward", 2048, size=True),
    Argument("dropout", 0.1),
    Argument("activation", "functional.relu", other="functional.gelu", form=Form(function=True)),
    Argument("layer_norm_eps", 1e-5, other=0.1),
    Argument("batch_first", False, other=True),
    Argument("norm_first", False, other=True),
    Argument("bias", True, other=False),
)


def hint(name: str, default: bool | None = False) -> Argument:
    """That a mask is the causal one, of so many queries and keys then."""
    return Argument(name, default, keyword=True, ties=Ties(fixes_sizes=True))


def sequence(name: str) -> Input:
    """A sequence of rows."""
    return Input(name, batch_axis=sequence_axis)


def pairs(name: str) -> Input:
    """A mask of queries and keys."""
    return Input(name, "mask", True, partial(mask_axis, name), signed=False)


def padding(name: str) -> Input:
    """A mask of keys."""
    return Input(name, "mask", True, partial(padding_axis, name), signed=False)


def drops(call: Call) -> bool:
    """Whether it draws anything."""
    return bool(call.training and kind_of(call.arguments).get("dropout", 0.1) > 0)
