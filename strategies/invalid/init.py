"""Ways to break a valid call of an initialisation."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, bare_name
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_negative = st.sampled_from((-1.0, -0.5))
_words = st.sampled_from(("fan", "in", "fan_avg", ""))
_functions = st.sampled_from(("gelu", "swish", "ReLU", ""))
_not_kernels = st.sampled_from(((3, 2), (2,), (2, 1, 1, 1, 1, 1)))
_strings = st.sampled_from(("one", ""))
_wide = st.sampled_from((0.5, 2.0))


def _rank(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: draw(_not_kernels)})


def _exchanged(draw: Draw, case: Case) -> Case:
    """The lower end above the upper end."""
    return with_arguments(case, a=1.0 + draw(_wide), b=1.0)


def _uneven(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    return with_arguments(case, groups=x.shape[0] + draw(st.integers(1, 2)))


def _any_numbers(case: Case) -> bool:
    """Whether the tensor has elements: torch returns an empty one before it checks arguments."""
    x = case.inputs[0]
    return x is not None and x.size > 0


_NEGATIVE_STD = Break("std negative", "std", argument("std", _negative))
_NEGATIVE_GAIN = Break("gain negative", "gain", argument("gain", _negative), CUSTOMARY)
_ENDS = Break("a above b", "a", _exchanged)
_KAIMING = (
    Break("mode unknown", "mode", argument("mode", _words), applies=_any_numbers),
    Break(
        "nonlinearity unknown",
        "nonlinearity",
        argument("nonlinearity", _functions),
        applies=_any_numbers,
    ),
)
# Functions that draw nothing also write into integer tensors.
_WRITTEN = ("constant_", "ones_", "zeros_", "eye_", "dirac_")
_BREAKS = {
    "constant_": (Break("val no number", "val", argument("val", _strings)),),
    "dirac_": (
        Break("tensor of another rank", "tensor", _rank),
        Break("groups not a divisor", "groups", _uneven),
    ),
    "uniform_": (_ENDS,),
    "normal_": (
        _NEGATIVE_STD,
        Break("std not a number", "std", argument("std", st.just(math.nan))),
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
    own = _BREAKS.get(name, ())
    without = {rank} if "*size" in shapes.texts.values() else {b.name for b in own} & {rank}
    without |= {dtype} if name in _WRITTEN else set()
    return (*shape_breaks(signature, shapes, without=without, customary={dtype} - without), *own)
