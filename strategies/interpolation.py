"""Cases of interpolation: modules and the function."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.rounded_sizes import FACTORS as ROUNDED_FACTORS
from conformance.strategies.rounded_sizes import REGIONS
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

SELECTING = ("nearest", "nearest-exact", "area")
"""Modes that do not accept align_corners."""
MODES = {
    3: ("nearest", "linear", "linear", "nearest-exact", "area"),
    4: ("nearest", "bilinear", "bicubic", "bilinear", "nearest-exact", "area", "lanczos"),
    5: ("nearest", "trilinear", "trilinear", "nearest-exact", "area"),
}
"""Modes of the function by the input's rank; the linear ones occur twice to be drawn more often."""
MODULE_MODES = {3: ("nearest", "linear"), 4: ("nearest", "bilinear", "bicubic"),
                5: ("nearest", "trilinear")}  # fmt: skip
"""Modes that the page of Upsample names."""
ANTIALIASED = ("bilinear", "bicubic", "lanczos")

# plain: doubled, or any size; dyadic: a step that is a power of two; same: as long as the input, or
# twice as long, also by a factor that is neither 1 nor 2; one: an output of length 1; thin: an
# input of length 1; long: a long last dimension; wide: about as many channels as kernels take at a
# time; rounded: in one dimension the output's length is off by one if it is computed in float32;
# regions: so are the bounds of areas, if they are computed in floating point.
profiles = st.sampled_from(
    (
        *("plain", "any", "any", "any", "dyadic", "same", "same", "one", "thin", "long", "wide"),
        *("rounded", "regions"),
    )
)
ranks = st.sampled_from((4, 3, 4, 5))
lengths = st.integers(1, 5)
sizes = st.integers(1, 8)
long_lengths = st.sampled_from((2, 3, 7, 17, 31, 40))
long_sizes = st.sampled_from((41, 64, 82, 97))
batches = st.sampled_from((1, 2, 3, 0))
channels = st.integers(1, 3)
wide_channels = st.sampled_from((8, 16, 17, 31, 32, 33))
yes_no = st.booleans()
FACTORS = (2.0, 3.0, 1.5, 0.5, 2.5, 0.75, 1.25, 1.3, 0.3, 0.7, 2.1, 1.1, 4.0, 0.4)
factors = st.sampled_from(FACTORS)
doubling = st.sampled_from((2.0, 4.0, 0.5))
parts = st.sampled_from((0.25, 0.5, 0.3, 0.75))
rounded_factors = st.sampled_from(ROUNDED_FACTORS)
# In the last four an area has more than 32 elements.
regions = st.sampled_from((*REGIONS, (70, 2), (97, 1), (68, 2), (40, 1)))
few = st.integers(1, 2)


def is_unambiguous(length: int, factor: float) -> bool:
    """Whether length·factor is a whole number, or so far from any that no rounding makes it one."""
    exact = Fraction(factor) * length
    fraction, doubt = exact % 1, exact / 2**20
    is_whole = not fraction and Fraction(factor).denominator < 2**10
    return exact >= 1 and (is_whole or doubt < fraction < 1 - doubt)


def has_certain_length(length: int, factor: float) -> bool:
    """Whether the length of the output is certain, at least in float64."""
    return is_unambiguous(length, factor) or (length, factor) in ROUNDED_FACTORS


_UNAMBIGUOUS = {f: tuple(n for n in range(1, 11) if is_unambiguous(n, f)) for f in FACTORS}


def _draw_lengths(draw: Draw, profile: str, last: bool) -> tuple[int, int]:
    """Draw the lengths of input and output."""
    length, size = draw(lengths), draw(sizes)
    if profile == "plain":
        return length, 2 * length
    if profile == "long" and last:
        short_or_long, other_length = draw(long_lengths), draw(long_sizes)
        return (short_or_long, other_length) if draw(yes_no) else (other_length, short_or_long)
    if profile == "dyadic":
        step = 2 ** draw(st.integers(1, 2))
        return (length, length * step) if draw(yes_no) else (length * step, length)
    if profile == "same":
        return length, length * draw(st.sampled_from((1, 1, 1, 2)))
    if profile == "one":
        return length, 1
    return (1, size) if profile == "thin" else (length, size)


def _draw_length_and_factor(
    draw: Draw, profile: str, last: bool, factor: float
) -> tuple[int, float]:
    """Draw the length of the input and a factor."""
    if profile in ("any", "wide") or (profile == "long" and not last):
        return draw(st.sampled_from(_UNAMBIGUOUS[factor])), factor
    length, size = _draw_lengths(draw, profile, last)
    part = draw(parts)
    if profile in ("plain", "dyadic"):
        return length, size / length
    return length, (size + part) / length


def draw_sizes(
    draw: Draw, profile: str, dims: int, writer: ArgumentWriter
) -> tuple[list[int], dict[str, Any]]:
    """Draw the input's spatial lengths, and `size` or `scale_factor`.

    Args:
        profile: one of `profiles`.
        dims: number of spatial dimensions.
        writer: decides whether sizes are one number or a tuple.
    """
    if profile in ("rounded", "regions"):
        return _draw_rounded_sizes(draw, profile, dims)
    kind = draw(st.sampled_from(("factor", "size", "factor", "size", "factors")))
    last = [k == dims - 1 for k in range(dims)]
    if kind == "size":
        pairs = [_draw_lengths(draw, profile, end) for end in last]
        return [n for n, _ in pairs], {"size": writer.size_argument([o for _, o in pairs])}
    factor_drawn = draw(doubling if profile in ("plain", "dyadic") else factors)
    if kind == "factor" and profile in ("plain", "dyadic", "any", "wide"):
        input_lengths = [draw(st.sampled_from(_UNAMBIGUOUS[factor_drawn])) for _ in last]
        factor: Any = (
            int(factor_drawn)
            if factor_drawn == int(factor_drawn) and writer.next_bit()
            else factor_drawn
        )
        return input_lengths, {"scale_factor": factor}
    if profile == "same":
        multiple, part = draw(st.sampled_from((1, 1, 2))), draw(parts)
        input_lengths = [draw(lengths) for _ in last]
        return input_lengths, {"scale_factor": tuple(multiple + part / n for n in input_lengths)}
    factors_drawn = [factor_drawn] + [draw(factors) for _ in last[1:]]
    lengths_and_factors = [
        _draw_length_and_factor(draw, profile, end, f)
        for end, f in zip(last, factors_drawn, strict=True)
    ]
    return [n for n, _ in lengths_and_factors], {
        "scale_factor": tuple(f for _, f in lengths_and_factors)
    }


def _draw_rounded_sizes(draw: Draw, profile: str, dims: int) -> tuple[list[int], dict[str, Any]]:
    """Draw a row of a table for one dimension, and short lengths for the others."""
    rows: list[tuple[int, Any]] = [(draw(few), 2.0 if profile == "rounded" else 1)] * dims
    rows[draw(st.integers(0, dims - 1))] = draw(
        rounded_factors if profile == "rounded" else regions
    )
    name = "scale_factor" if profile == "rounded" else "size"
    return [n for n, _ in rows], {name: tuple(x for _, x in rows)}


@composite
def interpolations(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of interpolate or Upsample.

    Args:
        layer: `"functional.interpolate"` or `"Upsample"`.
    """
    function = layer == "functional.interpolate"
    profile, rank = draw(profiles), draw(ranks)
    mode = draw(st.sampled_from((MODES if function else MODULE_MODES)[rank]))
    if profile == "regions":
        mode, profile = ("area", profile) if function else (mode, "rounded")
    antialias = (draw(yes_no) and function and mode in ANTIALIASED) or mode == "lanczos"
    # The profile is about the factor: with align_corners or a recomputed one it has no effect.
    factor_matters = profile == "same"
    corners = draw(st.sampled_from((None, False) if factor_matters else (None, True, False, True)))
    if mode in (*SELECTING, "lanczos"):
        corners = None
    elif antialias and corners and not draw(yes_no):
        corners = False
    writer = ArgumentWriter(draw(masks))
    space, size_arguments = draw_sizes(draw, profile, rank - 2, writer)
    recompute = draw(
        st.sampled_from((None, False) if factor_matters else (None, None, True, False))
    )
    if recompute and "size" in size_arguments:
        recompute = None
    values: dict[str, Any] = {
        "mode": mode,
        "align_corners": corners,
        "recompute_scale_factor": recompute,
    }
    defaults: dict[str, Any] = {
        "mode": "nearest",
        "align_corners": None,
        "recompute_scale_factor": None,
    }
    if function:
        values["antialias"], defaults["antialias"] = antialias, False
    if corners is None and not writer.next_bit():
        values.pop("align_corners")
    arguments = size_arguments | writer.explicit_arguments(values, defaults)
    return _case(draw, layer, dtype, profile, space, arguments)


@composite
def upsamplings(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"UpsamplingNearest2d"` or `"UpsamplingBilinear2d"`, whose mode is fixed."""
    profile = draw(profiles)
    profile = "rounded" if profile == "regions" else profile
    space, size_arguments = draw_sizes(draw, profile, 2, ArgumentWriter(draw(masks)))
    return _case(draw, layer, dtype, profile, space, size_arguments)


def _case(
    draw: Draw, layer: str, dtype: str, profile: str, space: list[int], arguments: dict[str, Any]
) -> Case:
    batch = draw(few if profile in ("rounded", "regions") else batches)
    depth = draw(wide_channels if profile == "wide" else channels)
    regime, seed = draw(sum_regimes), draw(seeds)
    x = Filler(regime, dtype, seed, 4 ** len(space), factors=1).operand(batch, depth, *space)
    labels = {"profile": profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
