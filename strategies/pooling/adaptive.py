"""Cases of adaptive pooling: modules and functions."""

from __future__ import annotations

from functools import partial
from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.average import regimes as sum_regimes
from conformance.strategies.pooling.average import summands
from conformance.strategies.pooling.maximum import elements
from conformance.strategies.pooling.maximum import regimes_of_floats as maximum_regimes
from conformance.strategies.pooling.windows import draw_leading, yes_no
from conformance.strategies.rounded_sizes import REGIONS
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# plain: regions of equal size, or one of the whole plane; uneven: the number of outputs does not
# divide the length; more: more outputs than the input has elements; kept: None, which stands for
# the input's size, in some dimensions; none: an empty output; long: a long dimension with few
# outputs, each of more elements than half precision can count; wide: many channels; rounded: a
# length of which a bound in floating point is off by one.
_PROFILES = (*("plain", "uneven") * 3, "more", "more", "kept", "wide", "none", "long")
profiles = st.sampled_from((*_PROFILES, *("rounded",) * 3))
summing_profiles = st.sampled_from((*_PROFILES, "long", "long", *("rounded",) * 3))
_OUTPUTS = st.sampled_from((1, 2, 3, 4))
_UNEVEN = st.sampled_from((2, 3, 4, 5, 7))
_LENGTHS = st.integers(1, 9)
_SHORT = st.integers(1, 5)
_LONG = st.sampled_from((258, 300, 513))
# Ones show a count in half precision, the others a sum in it.
_LONG_REGIMES = st.sampled_from(("ones", "ramp", "normal", "mixed", "outliers"))
_FEW = st.sampled_from((1, 2))
_PARTS = st.sampled_from((1, 2, 3, 4))
_REGIONS = st.sampled_from(REGIONS)
_LEADING_OF_SPECIAL = st.sampled_from(((1, 1), (3,), (2, 2)))


def _draw_lengths(draw: Draw, profile: str, dims: int, last: bool) -> tuple[int, int | None]:
    """Draw the input's length and the number of outputs in one dimension.

    Args:
        last: it is the dimension that the profile is about: the last one, or any if it is rounded.
    """
    if profile == "rounded":
        return draw(_REGIONS) if last else (draw(_FEW), 1)
    if profile == "none" and last:
        return draw(_SHORT), 0
    if profile == "long" and last:
        return draw(_LONG), draw(st.sampled_from((1, 1, 2, 7)))
    if profile == "long":
        return draw(_PARTS), 1
    if profile in ("plain", "wide", "none"):
        outputs = draw(_OUTPUTS)
        return outputs * draw(_PARTS if dims < 3 else st.integers(1, 3)), outputs
    if profile == "more":
        length = draw(_SHORT)
        return length, length + draw(st.integers(0, 4))
    length = draw(_LENGTHS if dims < 3 else _SHORT)
    if profile == "kept" and draw(yes_no):
        return length, None
    return length, draw(_UNEVEN)


@composite
def adaptive_pools(draw: Draw, layer: str, dims: int, has_indices: bool, dtype: str) -> Case:
    """Cases of adaptive pooling.

    Args:
        layer: `"AdaptiveAvgPool2d"`, `"functional.adaptive_max_pool3d"`, …
        dims: number of spatial dimensions.
        has_indices: pooling by maximum, which can return indices.
    """
    profile = draw(profiles if has_indices else summing_profiles)
    if profile == "kept" and dims == 1:
        profile = "uneven"  # in one dimension torch accepts no None
    chosen = draw(st.integers(0, dims - 1)) if profile == "rounded" else dims - 1
    pairs = [_draw_lengths(draw, profile, dims, k == chosen) for k in range(dims)]
    square = draw(yes_no) and profile not in ("kept", "rounded")
    if square:
        # One output size for all dimensions, whose lengths may differ.
        pairs = [(length, pairs[-1][1]) for length, _ in pairs]
    is_special = profile in ("rounded", "long")
    leading_shape = draw(_LEADING_OF_SPECIAL) if is_special else draw_leading(draw, profile)
    indices = has_indices and draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    own_regimes = _LONG_REGIMES if profile == "long" else sum_regimes
    regime, seed = draw(maximum_regimes if has_indices else own_regimes), draw(seeds)

    outputs = [output for _, output in pairs]
    size: Any = tuple(outputs)
    if None not in outputs:
        size = writer.size_argument([output for output in outputs if output is not None])
    optional = {"return_indices": indices} if has_indices else {}
    arguments = {
        "output_size": size,
        **writer.explicit_arguments(optional, {"return_indices": False}),
    }
    shape = (*leading_shape, *(length for length, _ in pairs))
    terms = 1
    for length, output in pairs:
        # A region has at most one more than its share, and another one if it is cut on both sides.
        terms *= min(length, length // max(length if output is None else output, 1) + 2)
    fill = partial(elements, shape, dims) if has_indices else partial(_summands, shape, terms)
    x = fill(regime, dtype, seed)
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)


def _summands(shape: tuple[int, ...], terms: int, regime: str, dtype: str, seed: int) -> Any:
    return summands(shape, regime, dtype, seed, terms)
