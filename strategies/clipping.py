"""Cases of gradients that are measured and clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import format_of, round_to

MAX_GRADIENTS = 6
"""Maximum number of gradients."""
# few; many: the maximum; some: a parameter between two others has no gradient; long: one is longer
# than a vector register; zeros: all are 0, where only the small number in the denominator prevents
# a division by 0.
profiles = st.sampled_from(("few", "few", "few", "many", "some", "long", "zeros"))
_COUNTS = st.sampled_from((1, 2, 3))
_SHAPES = st.sampled_from(((1,), (2,), (3,), (2, 3), (), (4, 1, 2), (5,)))
_LONG_SHAPES = st.sampled_from(((33,), (17, 3), (129,)))
_NORM_TYPES = st.sampled_from((2.0, 2.0, 1.0, math.inf, 3.0, 0.5, 1, "inf", 1.5))
_MAX_NORMS = st.sampled_from((1.0, 0.5, 8, 100.0, 1e4, 1e-3, 0.1, 0.0, 2.0))
_CLIP_VALUES = st.sampled_from((1.0, 0.5, 2, 3.0, 0.1, 100.0, 0.0, 1e-3, math.inf))
_FOREACH = st.sampled_from((None, None, True, False))
# Where the caller passes a norm: the gradients' own norm, another number, or 0.
_TOTAL_NORMS = st.sampled_from(("own", "own", "other", "zero"))
yes_no = st.booleans()
DEFAULTS = {"norm_type": 2.0, "error_if_nonfinite": False, "foreach": None}


def float64_norm(arrays: Sequence[np.ndarray], norm_type: float | str) -> float:
    """The norm of all elements in float64, scaled so that powers do not overflow."""
    p, flat = float(norm_type), np.concatenate([np.abs(x).reshape(-1) for x in arrays])
    largest = float(flat.max(initial=0.0))
    if p == math.inf or not largest:
        return largest
    return largest * float(float(((flat / largest) ** p).sum()) ** (1 / p))


def has_finite_norm(arrays: Sequence[np.ndarray], norm_type: float | str, dtype: str) -> bool:
    """Whether no sum on the way to the norm can leave the range of the dtype."""
    # The sum of |x|^p is the norm to the power p.
    p, norm = float(norm_type), float64_norm(arrays, norm_type)
    largest_exponent = math.log2(format_of(dtype).largest) - 2
    return norm == 0 or (max(p, 1.0) if p < math.inf else 1.0) * math.log2(norm) < largest_exponent


@composite
def clippings(draw: Draw, layer: str, names: tuple[str, ...], dtype: str) -> Case:
    """Cases of a function.

    Args:
        names: names of its arguments; `total_norm` is the first input.
    """
    profile = draw(profiles)
    count = MAX_GRADIENTS if profile == "many" else draw(_COUNTS)
    shapes = [draw(_SHAPES) for _ in range(count)]
    if profile == "long":
        shapes[-1] = draw(_LONG_SHAPES)
    options = {
        "max_norm": _MAX_NORMS, "clip_value": _CLIP_VALUES, "norm_type": _NORM_TYPES,
        "error_if_nonfinite": yes_no, "foreach": _FOREACH,
    }  # fmt: skip
    values: dict[str, Any] = {name: draw(options[name]) for name in options if name in names}
    total_norm = draw(_TOTAL_NORMS) if "total_norm" in names else ""
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    terms = sum(math.prod(shape) for shape in shapes)
    filler = Filler(regime, dtype, seed, max(terms, 1))
    arrays = [np.asarray(filler.operand(*shape)) for shape in shapes]
    if profile == "zeros":
        arrays = [np.zeros(shape) for shape in shapes]
    if not has_finite_norm(arrays, values.get("norm_type", 2.0), dtype):
        values = {k: x for k, x in values.items() if k != "error_if_nonfinite"}
    inputs: list[np.ndarray | None] = list(arrays)
    # A parameter may have no gradient; a list of tensors has no None.
    if profile == "some" and count > 1 and {"max_norm", "clip_value"} & set(names):
        inputs.insert(1, None)
    if total_norm:
        inputs.insert(0, _total_norm(total_norm, arrays, filler))
    required = {k: values.pop(k) for k in ("max_norm", "clip_value") if k in values}
    arguments = required | writer.explicit_arguments(values, DEFAULTS)
    labels = {"profile": profile, "regime": regime}
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, tuple(inputs), labels=labels, seed=seed)


def _total_norm(kind: str, arrays: Sequence[np.ndarray], filler: Filler) -> np.ndarray:
    """A norm as a zero-dimensional tensor."""
    if kind == "zero":
        return np.zeros(())
    norm = float64_norm(arrays, 2.0) if kind == "own" else np.abs(filler.operand()).item()
    largest = format_of(filler.dtype).largest
    return np.asarray(round_to(np.array(min(norm, largest)), filler.dtype))
