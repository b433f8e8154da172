"""Cases of fractional pooling: maxima of windows whose steps the layer draws."""

from __future__ import annotations

from typing import Any

from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.maximum import elements, regimes_of_floats
from conformance.strategies.pooling.windows import leading, yes_no
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# tight: each window begins one element after the previous one, so that nothing is drawn; loose:
# steps of any size; ratio: the output's size is a ratio of the input's; one: a single window in one
# dimension; wide: many channels.
profiles = st.sampled_from(("tight", "loose", "loose", "ratio", "ratio", "one", "wide"))
_KERNELS = st.sampled_from((1, 2, 3))
_OUTPUTS = st.sampled_from((1, 2, 3, 4, 5, 3, 4, 5))
_FEW = st.sampled_from((1, 2, 3, 2, 3))
_MORE = st.integers(0, 6)
_LITTLE = st.integers(0, 3)


@composite
def fractional_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of fractional pooling.

    Args:
        layer: `"FractionalMaxPool2d"`, `"functional.fractional_max_pool3d"`, …
        dims: number of spatial dimensions.
    """
    profile = draw(profiles)
    square = draw(yes_no)
    rows: list[tuple[int, int, int]] = []
    for k in range(dims):
        kernel = rows[0][0] if square and rows else draw(_KERNELS)
        outputs = draw(_OUTPUTS if dims < 3 else _FEW)
        if profile == "one" and k == dims - 1:
            outputs = 1
        more = 0 if profile == "tight" else draw(_MORE if dims < 3 else _LITTLE)
        if square and rows and profile != "one":
            outputs = rows[0][1]
        rows.append((kernel, outputs, kernel + outputs - 1 + more))
    before = leading(draw, profile)
    indices = draw(yes_no)
    written = Written(draw(masks))
    regime, seed = draw(regimes_of_floats), draw(seeds)

    arguments: dict[str, Any] = {"kernel_size": written.size([k for k, _, _ in rows])}
    if profile == "ratio":
        # Half an output more, so that rounding the product cannot lose one.
        if square:
            rows = [rows[0]] * dims
        ratios = [min((o + 0.5) / n, 1 - 2.0**-20) for _, o, n in rows]
        plain = len(set(ratios)) == 1 and written.bit()
        arguments["output_ratio"] = ratios[0] if plain else tuple(ratios)
        rows = [(k, int(n * r), n) for (k, _, n), r in zip(rows, ratios, strict=True)]
    else:
        arguments["output_size"] = written.size([o for _, o, _ in rows])
    arguments |= written.optional({"return_indices": indices}, {"return_indices": False})
    x = elements((*before, *(n for _, _, n in rows)), dims, regime, dtype, seed)
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
