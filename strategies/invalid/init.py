"""Ways to break a valid call of an initialisation."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    integer_input,
    with_arguments,
    with_inputs,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, bare_name

_negative = st.sampled_from((-1.0, -0.5))
_words = st.sampled_from(("fan", "in", "fan_avg", ""))
_functions = st.sampled_from(("gelu", "swish", "ReLU", ""))
_vectors = st.sampled_from(((3,), (), (1,)))
_not_matrices = st.sampled_from(((3,), (2, 3, 2), ()))
_not_kernels = st.sampled_from(((3, 2), (2,), (2, 1, 1, 1, 1, 1)))
_strings = st.sampled_from(("one", ""))
_wide = st.sampled_from((0.5, 2.0))


def _rank(shapes: st.SearchStrategy[tuple[int, ...]]) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        return with_inputs(case, {0: draw(shapes)})

    return Break("tensor of another rank", "tensor", apply)


def _exchanged(draw: Draw, case: Case) -> Case:
    """The lower end above the upper one."""
    return with_arguments(case, a=1.0 + draw(_wide), b=1.0)


def _uneven(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    return with_arguments(case, groups=x.shape[0] + draw(st.integers(1, 2)))


def _any_numbers(case: Case) -> bool:
    """torch leaves an empty tensor alone before it looks at anything else."""
    x = case.inputs[0]
    return x is not None and x.size > 0


_MATRIX, _WEIGHT = _rank(_not_matrices), _rank(_vectors)
_NEGATIVE_STD = Break("std negative", "std", argument("std", _negative))
_NEGATIVE_GAIN = Break("gain negative", "gain", argument("gain", _negative), CUSTOMARY)
_WHOLE = Break("tensor of whole numbers", "tensor", integer_input(), CUSTOMARY)
_ENDS = Break("a above b", "a", _exchanged)
_KAIMING = (
    _WEIGHT,
    Break("mode unknown", "mode", argument("mode", _words), applies=_any_numbers),
    Break(
        "nonlinearity unknown",
        "nonlinearity",
        argument("nonlinearity", _functions),
        applies=_any_numbers,
    ),
)
_BREAKS = {
    "constant_": (Break("val no number", "val", argument("val", _strings)),),
    "eye_": (_MATRIX,),
    "dirac_": (_rank(_not_kernels), Break("groups not a divisor", "groups", _uneven)),
    "uniform_": (_ENDS, _WHOLE),
    "normal_": (
        _NEGATIVE_STD,
        Break("std not a number", "std", argument("std", st.just(math.nan))),
        _WHOLE,
    ),
    "trunc_normal_": (_ENDS,),
    "xavier_uniform_": (_WEIGHT, _NEGATIVE_GAIN),
    "xavier_normal_": (_WEIGHT, _NEGATIVE_GAIN),
    "kaiming_uniform_": _KAIMING,
    "kaiming_normal_": _KAIMING,
    "orthogonal_": (_WEIGHT,),
    "sparse_": (_MATRIX, _NEGATIVE_STD),
}


def init_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer of the family; none of one that takes any tensor."""
    return _BREAKS.get(bare_name(layer), ())
