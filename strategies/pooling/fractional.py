"""Cases of fractional pooling: maxima of windows whose steps the layer draws."""

from __future__ import annotations

from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.maximum import elements, regimes_of_floats
from conformance.strategies.pooling.windows import draw_leading, yes_no
from conformance.strategies.rounded_sizes import RATIOS, STEPS
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# tight: each window begins one element after the previous one, so that nothing is drawn; loose:
# steps of any size; ratio: the output's size is a ratio of the input's; one: a single window in one
# dimension; wide: many channels; rounded, rounded ratio: in one dimension a start, or the number of
# windows, is off by one if it is computed in floating point.
profiles = st.sampled_from(
    (
        *("tight", "loose", "loose", "ratio", "ratio", "one", "wide"),
        *("rounded", "rounded", "rounded ratio"),
    )
)
_KERNELS = st.sampled_from((1, 2, 3))
_OUTPUTS = st.sampled_from((1, 2, 3, 4, 5, 3, 4, 5))
_FEW_OUTPUTS = st.sampled_from((1, 2, 3, 2, 3))
_EXTRAS = st.integers(0, 6)
_FEW_EXTRAS = st.integers(0, 3)
_STEPS = st.sampled_from(STEPS)
_RATIOS = st.sampled_from(RATIOS)
_LEADING_OF_ROUNDED = st.sampled_from(((1, 1), (3,), (2, 2)))


@composite
def fractional_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of fractional pooling.

    Args:
        layer: `"FractionalMaxPool2d"`, `"functional.fractional_max_pool3d"`, …
        dims: number of spatial dimensions.
    """
    profile = draw(profiles)
    is_rounded = profile.startswith("rounded")
    square = draw(yes_no) and not is_rounded
    rounded_dimension = draw(st.integers(0, dims - 1)) if is_rounded else None
    dimensions: list[tuple[int, int, int]] = []
    for k in range(dims):
        kernel = dimensions[0][0] if square and dimensions else draw(_KERNELS)
        outputs = draw(_OUTPUTS if dims < 3 else _FEW_OUTPUTS)
        if profile == "one" and k == dims - 1:
            outputs = 1
        extra_length = 0 if profile == "tight" else draw(_EXTRAS if dims < 3 else _FEW_EXTRAS)
        if square and dimensions and profile != "one":
            outputs = dimensions[0][1]
        length = kernel + outputs - 1 + extra_length
        if k == rounded_dimension and profile == "rounded":
            span, gaps = draw(_STEPS)
            outputs, length = gaps + 1, span + kernel
        dimensions.append((kernel, outputs, length))
    leading_shape = draw(_LEADING_OF_ROUNDED) if is_rounded else draw_leading(draw, profile)
    indices = draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes_of_floats), draw(seeds)

    arguments: dict[str, Any] = {"kernel_size": writer.size_argument([k for k, _, _ in dimensions])}
    if profile in ("ratio", "rounded ratio"):
        # Half an output more, so that rounding the product cannot lose one.
        if square:
            dimensions = [dimensions[0]] * dims
        ratios = [min((o + 0.5) / n, 1 - 2.0**-20) for _, o, n in dimensions]
        if rounded_dimension is not None:
            length, ratios[rounded_dimension] = draw(_RATIOS)
            kernel, outputs, _ = dimensions[rounded_dimension]
            dimensions[rounded_dimension] = (kernel, outputs, length)
        one_number = len(set(ratios)) == 1 and writer.next_bit()
        arguments["output_ratio"] = ratios[0] if one_number else tuple(ratios)
        dimensions = [(k, int(n * r), n) for (k, _, n), r in zip(dimensions, ratios, strict=True)]
    else:
        arguments["output_size"] = writer.size_argument([o for _, o, _ in dimensions])
    arguments |= writer.explicit_arguments({"return_indices": indices}, {"return_indices": False})
    x = elements((*leading_shape, *(n for _, _, n in dimensions)), dims, regime, dtype, seed)
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
