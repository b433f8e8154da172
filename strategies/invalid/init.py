"""Ways to break a valid call of an initialisation."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, bare_name
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_negative = st.sampled_from((-1.0, -0.5))
_unknown_modes = st.sampled_from(("fan", "in", "fan_avg", ""))
_unknown_nonlinearities = st.sampled_from(("gelu", "swish", "ReLU", ""))
_not_kernels = st.sampled_from(((3, 2), (2,), (2, 1, 1, 1, 1, 1)))
_strings = st.sampled_from(("one", ""))
_widths = st.sampled_from((0.5, 2.0))


def _rank(draw: Draw, case: Case) -> Case:
    return resize_inputs(case, {0: draw(_not_kernels)})


def _exchanged_ends(draw: Draw, case: Case) -> Case:
    """The lower end above the upper end."""
    return replace_arguments(case, a=1.0 + draw(_widths), b=1.0)


def _groups_not_a_divisor(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    return replace_arguments(case, groups=x.shape[0] + draw(st.integers(1, 2)))


def _has_elements(case: Case) -> bool:
    """Whether the tensor has elements: torch returns an empty one before it checks arguments."""
    x = case.inputs[0]
    return x is not None and x.size > 0


_NEGATIVE_STD = Break("std negative", "std", set_argument("std", _negative))
_NEGATIVE_GAIN = Break("gain negative", "gain", set_argument("gain", _negative))
_ENDS = Break("a above b", "a", _exchanged_ends)
_KAIMING = (
    Break("mode unknown", "mode", set_argument("mode", _unknown_modes), applies=_has_elements),
    Break(
        "nonlinearity unknown",
        "nonlinearity",
        set_argument("nonlinearity", _unknown_nonlinearities),
        applies=_has_elements,
    ),
)
# Functions that draw nothing also write into integer tensors.
_ANY_DTYPE = ("constant_", "ones_", "zeros_", "eye_", "dirac_")
_BREAKS = {
    "constant_": (Break("val no number", "val", set_argument("val", _strings)),),
    "dirac_": (
        Break("tensor of another rank", "tensor", _rank),
        Break("groups not a divisor", "groups", _groups_not_a_divisor),
    ),
    "uniform_": (_ENDS,),
    "normal_": (
        _NEGATIVE_STD,
        Break("std not a number", "std", set_argument("std", st.just(math.nan))),
    ),
    "trunc_normal_": (_ENDS,),
    "xavier_uniform_": (_NEGATIVE_GAIN,),
    "xavier_normal_": (_NEGATIVE_GAIN,),
    "kaiming_uniform_": _KAIMING,
    "kaiming_normal_": _KAIMING,
    "sparse_": (_NEGATIVE_STD,),
}


def init_breaks(layer: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a layer of the family; none where every call is valid."""
    name, rank, dtype = bare_name(layer), "tensor of another rank", "tensor of another dtype"
    layer_breaks = _BREAKS.get(name, ())
    excluded = (
        {rank} if "*size" in shapes.texts.values() else {b.name for b in layer_breaks} & {rank}
    )
    excluded |= {dtype} if name in _ANY_DTYPE else set()
    return (
        *shape_breaks(signature, shapes, excluded=excluded),
        *layer_breaks,
    )
